"""float16 on a CPU, which torch 2.0 and 2.1 have no matrix products and convolutions for.

LLaVA's builder loads float16 whatever the device. With the torch that its wheel pins (2.0.1) the first picture or the
first token on a CPU is then "not implemented for 'Half'".
"""

from __future__ import annotations

import functools
from typing import Any

from llava_faba.errors import UserError


def float32_where_half_is_missing(model: Any) -> None:
    """Make a float16 model on a CPU float32 where this torch cannot compute in float16 there; else leave it alone."""
    import torch

    if model.device.type == "cpu" and model.dtype == torch.float16 and not cpu_has_half():
        _to_float32(model)


@functools.cache
def cpu_has_half() -> bool:
    """Whether this torch multiplies and convolves float16 on a CPU; asked by doing it."""
    import torch

    one = torch.ones(1, 1, 1, 1, dtype=torch.float16)
    try:
        torch.nn.functional.conv2d(one, one)
        torch.nn.functional.linear(one[0, 0], one[0, 0])
    except RuntimeError:
        return False
    return True


def _to_float32(model: Any) -> None:
    """The whole model, and the pictures that its tower is given: LLaVA's programs make them float16.

    The tower answers in the type of what it is given, and the projector behind it takes its own type only.
    """
    model.float()
    tower = model.get_vision_tower()
    if tower is not None:
        tower.register_forward_pre_hook(_pictures_in_float32)


def _pictures_in_float32(tower: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
    images, *rest = given
    return ([one.float() for one in images] if isinstance(images, list) else images.float(), *rest)


def check_can_compute(dtype: Any, device: Any) -> None:
    """Refuse, before a model is loaded to be asked, what would end at its first picture.

    Raises UserError for float16 on a CPU where this torch cannot compute in it.
    """
    import torch

    if str(dtype).removeprefix("torch.") != "float16" or cpu_has_half():
        return
    if str(device) == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if torch.device(device or "cpu").type == "cpu":
        raise UserError(f"torch {torch.__version__} cannot compute in float16 on a CPU: take float32 or bfloat16.")
