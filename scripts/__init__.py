"""Training entry point and DeepSpeed configurations; installed as ``llava_faba.scripts``."""
