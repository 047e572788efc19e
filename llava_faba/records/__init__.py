"""The ground floor of records: annotation files, questions and answers, tasks, labels, the ``<image>`` token.

``annotation``  training and evaluation records: reading, writing, labels, tasks
``training``    annotation files as training reads them
``questions``   evaluation records as LLaVA question files
``vocabulary``  emotions, AUs and the paper's questions
"""
