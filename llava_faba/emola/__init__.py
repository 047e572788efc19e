"""What EmoLA is, whichever home it runs in; nothing here imports llava, torchvision or transformers.

``normalization``  what is done to a prior before the projector
``anyres``         LLaVA-1.6: crops of a picture, and their features as one sequence
``online``         the prior computed from the image tensor that a model gets
``projector``      the shape of the network that turns a prior into a token
"""
