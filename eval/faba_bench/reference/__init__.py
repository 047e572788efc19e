"""The authors' scorer, reproduced to the last bit, faults included (design section 9)."""
