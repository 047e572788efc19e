"""The releases of transformers that the native classes are written for."""

from __future__ import annotations

from llava_faba.errors import UserError

OLDEST = (5, 19)  # the first tried release


def is_new_enough() -> bool:
    """Whether the installed transformers can run the native model."""
    return _installed() >= OLDEST


def check_transformers() -> None:
    """Raise UserError for a transformers that is too old; newer ones are not refused."""
    if not is_new_enough():
        import transformers

        raise UserError(
            f"llava_faba.native needs transformers {OLDEST[0]}.{OLDEST[1]} or newer, this is "
            f"{transformers.__version__}; upgrade it, or stay with LLaVA's own home (llava_faba.load_model)."
        )


def _installed() -> tuple[int, int]:
    import transformers

    major, minor = transformers.__version__.split(".")[:2]
    return int(major), int(minor)
