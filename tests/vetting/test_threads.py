"""Loading from many threads at once: models are whole, and nothing else in the process is harmed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from support import ADAPTER

import llava_faba


def run_at_once(count: int, action: Any) -> list[Any]:
    start = threading.Barrier(count)

    def one(index: int) -> Any:
        start.wait()
        return action(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def tensors(model: Any) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def test_many_threads_load_whole_models(golden):
    models = run_at_once(8, lambda index: llava_faba.load_model(golden / (ADAPTER if index % 2 else "base"))[1])
    for model in models:
        assert not [value for value in tensors(model) if value.is_meta]
    first = models[1].state_dict()
    assert all(torch.equal(value, first[name]) for name, value in models[3].state_dict().items())
    assert not torch.nn.Linear(2, 2).weight.is_meta and torch.get_default_dtype() == torch.float32


def test_many_threads_predict_from_a_path_and_load_once(golden, monkeypatch):
    from llava_faba.inference import answer, predict
    from llava_faba.model import loading

    loads: list[str] = []
    load = loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda *args, **more: loads.append("") or load(*args, **more))
    monkeypatch.setattr(
        answer, "answer_one", lambda loaded, *args, **more: int(loaded[1].get_model().embed_tokens.weight.is_meta)
    )
    predict._cached.cache_clear()
    picture = golden / "data" / "img" / "0.png"
    found = run_at_once(8, lambda index: llava_faba.predict(golden / ADAPTER, picture, "What?"))
    assert found == [0] * 8 and len(loads) == 1


def test_an_expert_that_builds_networks_waits_for_loading(golden):
    """As FAN does when it is first asked, in another thread."""
    from llava_faba.emola.online import Squares, compute_priors
    from llava_faba.experts import PriorExpert

    class Builder(PriorExpert):
        name = "builder"

        def __init__(self) -> None:
            pass

        def extract(self, images: Any) -> Any:
            raise NotImplementedError

        def extract_tensor(self, pixels: Any, frames: Any) -> Any:
            return [torch.nn.Linear(300, 300) for _ in range(50)]

    squares = Squares(torch.zeros(1, 3, 8, 8), [(8, 8)], ["pad"])

    def work(index: int) -> Any:
        if index % 2:
            return [
                value for _ in range(3) for layer in compute_priors(Builder(), squares) for value in layer.parameters()
            ]
        return tensors(llava_faba.load_model(golden / ADAPTER)[1])

    for values in run_at_once(6, work):
        assert not [value for value in values if value.is_meta]
        assert all(np.isfinite(value.detach().float().numpy()).all() for value in values)


def test_a_replaced_folder_is_loaded_again(copied, monkeypatch):
    from llava_faba.inference import answer

    monkeypatch.setattr(
        answer, "answer_one", lambda loaded, *args, **more: float(next(iter(loaded[1].parameters())).detach()[0, 0])
    )
    picture = copied / "data" / "img" / "0.png"
    first = llava_faba.predict(copied / "base", picture, "What?")
    state = torch.load(copied / "base" / "pytorch_model.bin", weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, copied / "base" / "pytorch_model.bin")
    assert llava_faba.predict(copied / "base", picture, "What?") == first + 1
