"""``python -m llava_faba.inference.engines.launch PARENT ARGUMENTS``: ``vllm serve``, ended when PARENT has ended.

After kill -9 of the run nobody tells its server, which would keep its GPUs; it leads a process group, and takes all of
it along.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time


def main() -> None:
    parent, arguments = int(sys.argv[1]), sys.argv[2:]
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    sys.argv = ["vllm", "serve", *arguments]
    from vllm.entrypoints.cli.main import main as vllm

    vllm()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
