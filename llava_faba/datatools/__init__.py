"""From licensed label files to validated instruction data: ``llava-faba data ...``.

===============  ==========================================================================
``convert``      official dataset layouts to training and evaluation records
``validate``     every problem of annotation files at once
``stats``        the figures of a dataset, as table and plots
``annotate``     answers written by a vision model, filtered and reviewed
``mix``          several annotation files to one repeatable training set
===============  ==========================================================================

Nothing heavy is imported here; the modules import numpy, Pillow and matplotlib where they use them.
"""
