"""Asking a loaded model: one picture at a time (``predict``) and many (``generate``)."""
