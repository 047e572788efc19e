"""What answers a test set: LLaVA's own code, transformers, or vLLM. One interface, one journal, one way to go on.

======================  ====================================================================
``llava``               a checkpoint of LLaVA's home, in this process's LLaVA (``answering``)
``transformers``        a folder that ``checkpoint to-transformers`` made (``native``)
``vllm``                the same folder, in a vLLM server: started here, or running (``server``)
======================  ====================================================================

``kinds`` chooses between them by what a folder is.
"""
