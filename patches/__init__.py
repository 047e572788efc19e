"""Unified diffs for LLaVA's source tree; ``llava-faba patch`` applies them. Installed as ``llava_faba.patches``."""
