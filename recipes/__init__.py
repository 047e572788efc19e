"""The recipes that come with llava-faba; installed as ``llava_faba.recipes``."""
