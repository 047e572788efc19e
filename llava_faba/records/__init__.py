"""The ground floor of records: annotation files, questions and answers, tasks, labels, the ``<image>`` token.

``reading``     the one reader of annotation files, for training, priors, benchmark questions and the data tools
``turns``       the one check of a record's conversation, for training and for ``data validate``
``annotation``  training and evaluation records: writing, labels, tasks
``training``    annotation files as training reads them
``questions``   evaluation records as LLaVA question files
``vocabulary``  emotions, AUs and the paper's questions
"""
