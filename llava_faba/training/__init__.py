"""EmoLA training on LLaVA's own ``train()``: the flags, the trainer, and what must hold before and after.

``python -m llava_faba.training`` (or ``deepspeed --module llava_faba.training``) is ``scripts/train_emola.py``.
"""
