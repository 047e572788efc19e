"""float16 on a CPU: where this torch has none, LLaVA's builder gives float32, and asking for it is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llava_faba.compat import half
from llava_faba.errors import UserError


class Tower(torch.nn.Module):
    """Answers in the type of what it is given, like LLaVA's."""

    def forward(self, images: Any) -> Any:
        if isinstance(images, list):
            return [self.forward(image) for image in images]
        return images.float().mean(dim=(-1, -2)).to(images.dtype)


class Model(torch.nn.Module):
    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.tower, self.projector = Tower(), torch.nn.Linear(3, 2)

    @property
    def dtype(self) -> torch.dtype:
        return self.projector.weight.dtype

    def get_vision_tower(self) -> Tower:
        return self.tower


def test_whether_a_cpu_has_half_is_asked_by_computing():
    one = torch.ones(1, 1, 2, 2, dtype=torch.float16)
    try:
        torch.nn.functional.conv2d(one, one)
        able = True
    except RuntimeError:
        able = False
    assert half.cpu_has_half() is able


@pytest.mark.parametrize("several", [False, True])
def test_a_float16_model_becomes_float32_and_still_takes_float16_pictures(monkeypatch, several):
    monkeypatch.setattr(half, "cpu_has_half", lambda: False)
    model = Model().half()
    half.float32_where_half_is_missing(model)
    assert model.dtype == torch.float32
    picture = torch.ones(1, 3, 4, 4, dtype=torch.float16)
    found = model.tower([picture] if several else picture)
    features = found[0] if several else found
    assert features.dtype == torch.float32 and model.projector(features).shape == (1, 2)


@pytest.mark.parametrize("able", [True, False])
def test_others_are_left_alone(monkeypatch, able):
    monkeypatch.setattr(half, "cpu_has_half", lambda: able)
    model = Model() if not able else Model().half()
    before = model.dtype
    half.float32_where_half_is_missing(model)
    assert model.dtype == before and not model.tower._forward_pre_hooks


def test_asking_for_it_is_refused_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(half, "cpu_has_half", lambda: False)
    with pytest.raises(UserError, match="cannot compute in float16 on a CPU: take float32 or bfloat16"):
        half.check_can_compute("float16", "cpu")
    for dtype, device in (("float32", "cpu"), ("bfloat16", "auto"), ("auto", "auto"), ("float16", "cuda:0")):
        half.check_can_compute(dtype, device)


@pytest.mark.parametrize(("able", "dtype"), [(False, torch.float32), (True, torch.float16)])
def test_the_tower_that_training_makes_float16(monkeypatch, able, dtype):
    from llava_faba.training import trainer

    monkeypatch.setattr(trainer, "cpu_has_half", lambda: able)
    tower = torch.nn.Conv2d(3, 2, 1).half()
    tower.dtype, tower.device = torch.float16, torch.device("cpu")
    trainer._set_tower_dtype(SimpleNamespace(get_vision_tower=lambda: tower), None)
    assert tower.weight.dtype == dtype
