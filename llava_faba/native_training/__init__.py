"""Training in transformers' own home (``llava-faba train``): TRL's SFT on the plugin's records, priors and checks.

``config``      the YAML file
``data``        records and priors, checked before a model is loaded
``encoding``    a conversation as the model's input, its answers as labels
``models``      the model: EmoLA, one that ``attach`` made, or one that it is to make; LoRA
``trainer``     TRL's trainer with learning rates by group, whole checkpoints and resuming
``validation``  answers to an evaluation set, scored as FABA-Bench scores them
``run``         one training, from the file to a folder that loads

Nothing here imports llava.
"""
