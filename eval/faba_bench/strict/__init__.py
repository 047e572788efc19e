"""What a careful scorer does (design section 9, strict mode)."""
