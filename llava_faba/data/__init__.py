"""Training data: records, their priors, and the dataset and collator that LLaVA's ``train()`` gets.

``records``  reading annotation files and finding every problem at start-up
``priors``   where a record's prior comes from: a store, or its own .npy file
``module``   dataset and collator (imports torch and llava)
"""
