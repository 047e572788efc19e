"""The embedded demo: its own faces, a small base model, training, evaluation and a report."""
