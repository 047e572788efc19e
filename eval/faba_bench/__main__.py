"""``python -m faba_bench`` is ``faba-bench``."""

from __future__ import annotations

import sys

from faba_bench.cli import main

sys.exit(main())
