"""Threads that load different checkpoints at once: each gets its own."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import torch
from support import ADAPTER

import llava_faba


def test_threads_that_load_two_checkpoints_get_their_own(copied):
    other = shutil.copytree(copied / ADAPTER, copied / f"{ADAPTER}-other")
    path = other / "non_lora_trainables.bin"
    state = {name: value + 1 for name, value in torch.load(path, weights_only=True).items()}
    torch.save(state, path)
    projector = other / "landmark_feature_projector.bin"
    torch.save({name: value + 1 for name, value in torch.load(projector, weights_only=True).items()}, projector)

    def weights(folder):
        model = llava_faba.load_model(folder)[1]
        assert not any(value.is_meta for value in model.parameters())
        return next(model.get_model().landmark_feature_projector.parameters()).detach().float().clone()

    folders = [copied / ADAPTER, other]
    alone = [weights(folder) for folder in folders]
    assert not torch.allclose(*alone)
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(weights, folders * 3))
    assert all(torch.equal(one, alone[number % 2]) for number, one in enumerate(together))
    assert not any(value.is_meta for value in torch.nn.Linear(2, 2).parameters())
