"""Answers written by a vision model: how FABA-Instruct itself was made.

============  ==========================================================================================
``pipeline``  ``ask`` (network) and ``sort`` (filters, records, review pages): start here
``asking``    workers, retries, limits
``client``    one request to an OpenAI-compatible API
``journal``   every raw answer, kept
``filters``   what is good enough to train on
``review``    pages to accept or reject by hand
``prompts``   versioned prompts
``command``   the command line
============  ==========================================================================================

Nothing is imported here, so that the command line's help stays quick.
"""
