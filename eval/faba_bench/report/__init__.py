"""Self-contained HTML pages: building blocks (`html`, `svg`, `gallery`, `images`) and the bench report.

The blocks know nothing of FABA-Bench: each takes plain values and returns markup, so other reports (the
demo's) are made of the same parts.  A page holds its style, plots and images; it fetches nothing.
"""
