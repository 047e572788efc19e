"""Checkpoints between EmoLA's two homes: LLaVA's folders and transformers' (``llava_faba.native``).

Needs neither llava nor a recent transformers; where those are there, they are used to prove the result.

``names``            the same tensor under both homes' names
``source``           an EmoLA folder of LLaVA's home as tensors, one at a time, LoRA merged
``settings``         its config.json as the native one, and what cannot be carried
``conversations``    LLaVA's conversation templates as Jinja
``tokens``           a SentencePiece model as a fast tokenizer
``shards``           writing tensors one shard at a time
``to_transformers``, ``from_transformers``  the two converters
``adapters``         LoRA weights as a PEFT adapter on a converted base
``plain_forward``    LLaVA's forward pass in plain torch, layer by layer: what results are proved against
``proof``            tokens and logits of both sides compared
``card``             the model card
"""
