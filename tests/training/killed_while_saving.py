"""The training command, killed with SIGKILL when a file of a checkpoint is half written.

python killed_while_saving.py --kill_folder CHECKPOINT --kill_file FILE FLAGS...
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from llava_faba.training.main import main

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--kill_folder")
parser.add_argument("--kill_file")
kill, sys.argv[1:] = parser.parse_known_args()  # DeepSpeed's launcher puts --local_rank before them
save = torch.save


def saving(value: Any, path: Any, *args: Any, **kwargs: Any) -> None:
    save(value, path, *args, **kwargs)
    target = Path(path) if isinstance(path, str | os.PathLike) else None
    if target is not None and target.name == kill.kill_file and target.parent.name.endswith(kill.kill_folder):
        os.truncate(target, target.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)


torch.save = saving
sys.exit(main())
