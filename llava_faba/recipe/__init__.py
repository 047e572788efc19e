"""Recipes: from data to a table in one command. A YAML file of typed steps, each done once for what goes into it.

``reading`` (the file), ``kinds`` (what a step can be), ``expansion`` (references, folds and seeds, the graph),
``digests``
and ``state`` (was this done for the same content?), ``job`` (the process that does a step), ``executors`` (here, or
through a
scheduler), ``running`` and ``planning`` (the two commands), ``table`` (the report that a recipe ends in).
"""
