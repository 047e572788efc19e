"""The training command, killed with SIGKILL when a file of a checkpoint is half written.

python killed_while_saving.py CHECKPOINT FILE FLAGS...
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from llava_faba.training.main import main

checkpoint, file = sys.argv[1:3]
del sys.argv[1:3]
save = torch.save


def saving(value: Any, path: Any, *args: Any, **kwargs: Any) -> None:
    save(value, path, *args, **kwargs)
    target = Path(path) if isinstance(path, str | os.PathLike) else None
    if target is not None and target.name == file and target.parent.name.endswith(checkpoint):
        os.truncate(target, target.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)


torch.save = saving
sys.exit(main())
