"""``llava-faba doctor``: the truth about working and about broken environments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import llava_faba_command

from llava_faba.cli.main import main
from llava_faba.doctor import checks
from llava_faba.doctor.checks import Finding, diagnose
from llava_faba.experts import expert_names
from llava_faba.registration import is_registered


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    return {finding.name: finding for finding in diagnose()}


def test_a_working_environment(findings):
    assert not [finding for finding in findings.values() if finding.level == "error"]
    assert {"versions", "devices", "llava", "seams", "deepspeed"} <= set(findings)
    for name in ("python", "torch", "transformers", "peft", "llava-torch", "llava-faba"):
        assert f"{name} " in findings["versions"].text
    assert "code base" in findings["llava"].text
    assert not is_registered()


def test_every_expert_is_usable_or_says_what_it_needs(findings):
    for name in expert_names():
        finding = findings[f"expert {name}"]
        assert finding.level == "ok" or finding.remedy
    assert findings["expert dlib-68"].text == "136 numbers per face"


def test_json_is_one_document_and_text_one_mark_per_finding(capsys, monkeypatch, findings):
    monkeypatch.setattr(checks, "diagnose", lambda: list(findings.values()))
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [finding.as_dict() for finding in findings.values()]
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("[  ok  ]") + printed.count("[ note ]") == len(findings) and "ERROR" not in printed


def test_a_seam_that_does_not_fit_is_an_error_with_its_name(monkeypatch):
    from llava.train import train

    monkeypatch.delattr(train, "find_all_linear_names")
    found = {finding.name: finding for finding in diagnose()}
    assert found["seams"].level == "error" and "lora-targets" in found["seams"].text
    assert "expert dlib-68" in found


def test_a_check_that_crashes_does_not_stop_the_others(monkeypatch):
    def _broken() -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(checks, "_seams", _broken)
    found = {finding.name: finding for finding in diagnose()}
    assert "RuntimeError: out of order" in found["broken"].text and "expert dlib-68" in found


def stub(folder: Path, package: str, code: str) -> None:
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(code + "\n")


def broken_environment(folder: Path, *arguments: str) -> tuple[int, str]:
    result = llava_faba_command("doctor", *arguments, path=folder)
    assert "Traceback" not in result.stderr, result.stderr
    return result.returncode, result.stdout


def test_a_package_under_llava_that_does_not_import(tmp_path):
    """llava/model/__init__.py hides this; its own import of transformers' parts is where it breaks."""
    stub(tmp_path, "transformers", "raise RuntimeError('transformers is broken on purpose')")
    code, printed = broken_environment(tmp_path)
    assert code == 1
    assert "[ERROR ] llava: LLaVA is installed but does not import" in printed
    assert "transformers is broken on purpose" in printed and "mend the package" in printed
    assert "expert dlib-68: 136 numbers per face" in printed


def test_another_llava_and_a_broken_deepspeed(tmp_path):
    stub(tmp_path, "llava", "raise ImportError('this llava is somebody else')")
    stub(tmp_path, "deepspeed", "raise AttributeError('deepspeed does not know this torch')")
    code, printed = broken_environment(tmp_path, "--json")
    found = {finding["name"]: finding for finding in json.loads(printed)}
    assert code == 1
    assert found["llava"]["level"] == "error" and "this llava is somebody else" in found["llava"]["text"]
    assert found["deepspeed"]["level"] == "error" and "does not know this torch" in found["deepspeed"]["text"]
    assert found["deepspeed"]["remedy"]
    assert found["expert dlib-68"]["level"] == "ok"


def test_without_llava_and_torch(tmp_path):
    """As after 'pip install llava-faba' alone."""
    hide = "import sys\nsys.modules.update(dict.fromkeys(('torch', 'llava', 'deepspeed', 'transformers')))\n"
    (tmp_path / "sitecustomize.py").write_text(hide)
    code, printed = broken_environment(tmp_path)
    assert code == 1
    assert "[ERROR ] torch: not installed" in printed and "[ERROR ] llava: not installed" in printed
    assert "pip install --no-deps llava-torch==1.2.2.post1" in printed
    assert "[ note ] deepspeed: not installed" in printed
