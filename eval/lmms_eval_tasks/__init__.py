"""A task folder for lmms-eval; ``python -m faba_bench.lmms_eval_tasks`` prints it, for ``--include_path``."""
