"""Makes this folder's helper importable: eval/lmms_eval_tasks is a package of the same name as this folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
