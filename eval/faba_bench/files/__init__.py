"""The ground floor: files, names and JSON from outside are read here, and results are written here.

Standard library only, so that every other part of `faba_bench` and `llava_faba` can stand on it.

- `jsonfiles`: the one reader of JSON, JSON lines and annotation files (sizes, depth, BOM, NaN, duplicate keys).
- `atomic`: outputs that are whole or not there.
- `folders`: the same for whole folders.
- `paths`: does a name from outside stay in its folder, and is it a regular file?
- `digests`: SHA-256 of files and values.
- `arrays`: the one reader of .npy and .npz files (NumPy is imported when one is read).
- `locks`: one process at a time in one folder.
- `oserrors`: an OSError as one sentence.
- `schema`: is a value as one of our JSON schemas says?
- `terminal`: text from outside, made safe to print.
"""

from faba_bench.files.problem import FileProblem

__all__ = ["FileProblem"]
