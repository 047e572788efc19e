"""Versions are read once, and the original comes back."""

from __future__ import annotations

import importlib.metadata

import pytest

from llava_faba.compat.package_versions import remembered_package_versions


def test_versions_are_right_and_read_once(monkeypatch):
    read = []
    original = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: (read.append(name), original(name))[1])
    counting = importlib.metadata.version
    with remembered_package_versions():
        assert {importlib.metadata.version("Pillow") for _ in range(3)} == {original("Pillow")}
        with pytest.raises(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version("no-such-package")
    assert read == ["Pillow", "no-such-package"] and importlib.metadata.version is counting
