"""Model folders of others: nothing in them runs, leads outside, or is loaded when it is not whole.

``kinds``      what a value in a JSON file may be, and reading an object by a table of keys
``families``   the tables for config.json: LLaVA, LLaMA, Mistral, MPT, CLIP
``adapter``    adapter_config.json: LoRA, in the words of every release of PEFT
``tokenizer``  the tokenizer's files
``side_files`` preprocessor_config.json, generation_config.json and the indices of shards
``weights``    weights files: tensors only, sound, finite
``structure``  which tensors a config asks for
``folder``     a private folder that holds what we built from all of these: what transformers and PEFT get to read

Imports neither llava nor transformers; torch only where tensors are read.
"""
