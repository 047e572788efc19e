"""Aligned face crops from photographs, by an expert's own landmarks."""
