"""``python -m llava_faba.cli``, the same as ``llava-faba``."""

from llava_faba.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
