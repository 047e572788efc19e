"""The trial load: it works here, and what it meets in a broken environment is named with its remedy."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest
import torch

from llava_faba.doctor import checks
from llava_faba.doctor.trial import trial

pytestmark = pytest.mark.newest


def test_it_makes_loads_and_asks_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = torch.random.get_rng_state()
    (finding,) = trial()
    assert finding.level == "ok" and finding.details["tokens"] >= 1, finding
    assert list(tmp_path.glob("llava-faba-doctor-*")) == []
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_torch_that_cannot_read_bin_files(monkeypatch):
    def load(*args: object, **kwargs: object) -> None:
        raise TypeError("'mmap' is an invalid keyword argument for Unpickler()")

    monkeypatch.setattr(torch, "load", load)
    (finding,) = trial()
    assert finding.level == "error" and finding.text.startswith("loading a tiny EmoLA checkpoint failed: ")
    assert "'mmap' is an invalid keyword argument" in finding.text


def test_a_peft_that_does_not_fit(monkeypatch):
    import peft

    def fails(*args: object, **kwargs: object) -> None:
        raise AttributeError("module 'transformers' has no attribute 'BloomPreTrainedModel'")

    monkeypatch.setattr(peft, "get_peft_model", fails)
    (finding,) = trial()
    assert finding.level == "error" and finding.text.startswith("making a tiny EmoLA checkpoint failed: AttributeError")


def test_a_torch_that_was_built_for_another_numpy(monkeypatch):
    def numpy(self: torch.Tensor) -> None:
        raise RuntimeError("Numpy is not available")

    monkeypatch.setattr(torch.Tensor, "numpy", numpy)
    (finding,) = trial()
    assert finding.level == "error" and finding.remedy == "pip install 'numpy<2'"


def test_a_full_disk(monkeypatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    (finding,) = trial()
    assert finding.level == "error" and "TMPDIR" in finding.remedy


def test_it_waits_for_what_is_broken_before_it(monkeypatch):
    from llava_faba.doctor import codebase
    from llava_faba.doctor.finding import Finding

    monkeypatch.setattr(codebase, "llava", lambda: iter([Finding("error", "llava", "not installed")]))
    (finding,) = [one for one in checks.diagnose() if one.name == "trial"]
    assert finding.level == "note" and finding.text.startswith("not made")
    assert not [one for one in checks.diagnose(quick=True) if one.name == "trial"]
