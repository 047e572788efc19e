"""Facial priors of a whole dataset: extraction, and the store that replaces thousands of .npy files.

``store``    the file format, its reader and its crash-safe writer
``extract``  a folder or an annotation file in, a store out, resumable
"""
