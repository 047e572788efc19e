"""What the two programs' command lines share: their parser, their output, and how an error becomes a sentence.

Standard library and `faba_bench.files` only.

- `parser`: an argparse parser with old spellings that still work, and no guessed abbreviations.
- `output`: text that is safe to print, `--json` and `--output`.
- `processes`: `--workers`.
- `program`: exit codes; errors that a user can fix, without a traceback.
"""
