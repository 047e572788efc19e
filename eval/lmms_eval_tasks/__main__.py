"""``python -m faba_bench.lmms_eval_tasks``: where the task folder lies."""

from __future__ import annotations

from pathlib import Path

print(Path(__file__).resolve().parent)
