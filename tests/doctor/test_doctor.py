"""``llava-faba doctor``: the truth about working and about broken environments."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from support import llava_faba_command

from llava_faba.cli.main import main
from llava_faba.doctor import checks, codebase
from llava_faba.doctor.checks import diagnose
from llava_faba.doctor.finding import Finding
from llava_faba.experts import expert_names
from llava_faba.registration import is_registered
from llava_faba.registration.seams import SEAMS


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    return {finding.name: finding for finding in diagnose()}


def test_a_working_environment(findings):
    assert not [finding for finding in findings.values() if finding.level == "error"]
    assert {"versions", "devices", "llava", "seams", "deepspeed", "communication"} <= set(findings)
    for name in ("python", "torch", "transformers", "peft", "llava-torch", "llava-faba"):
        assert f"{name} " in findings["versions"].text
    assert findings["llava"].text == "imports; code base: PyPI wheel (February 2024)"
    assert findings["seams"].details == {
        "expected": len(SEAMS),
        "found": len(SEAMS),
        "registered": False,
    }
    assert set(findings["patches"].details) >= {"plugin-hook"} and "shims" in findings
    assert findings["communication"].details["backend"] == "gloo" and findings["communication"].level == "ok"
    assert not is_registered()


def test_every_expert_is_usable_or_says_what_it_needs(monkeypatch, tmp_path):
    pytest.importorskip("onnxruntime")  # neither is in requirements/newest.txt
    pytest.importorskip("face_alignment")
    monkeypatch.setenv("HOME", str(tmp_path))  # where InsightFace's and torch's weights would lie
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    findings = {finding.name: finding for finding in checks.experts()}
    assert set(findings) == {f"expert {name}" for name in expert_names()}
    assert findings["expert dlib-68"].text == "136 numbers per face"
    for name in ("emola-106", "insightface-106", "face-alignment-2d", "face-alignment-3d"):
        finding = findings[f"expert {name}"]
        assert finding.level == "note" and not finding.details["usable"]
        assert "has no weights" in (finding.remedy or "") and "LLAVA_FABA_" in (finding.remedy or "")


def test_an_experts_weights_are_seen(monkeypatch, tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "2d106det.onnx").write_bytes(b"x")
    monkeypatch.setenv("LLAVA_FABA_2D106DET", str(tmp_path / "2d106det.onnx"))
    findings = {finding.name: finding for finding in checks.experts()}
    assert findings["expert emola-106"].level == "ok" and findings["expert insightface-106"].details["usable"]


def test_json_is_one_document_and_text_one_mark_per_finding(capsys, monkeypatch, findings):
    monkeypatch.setattr(checks, "diagnose", lambda *_, **__: list(findings.values()))
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [finding.as_dict() for finding in findings.values()]
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("[  ok  ]") + printed.count("[ note ]") == len(findings) and "ERROR" not in printed


def test_seams_that_do_not_fit_are_errors_with_their_names(monkeypatch):
    from llava.train import train

    monkeypatch.delattr(train, "find_all_linear_names")
    monkeypatch.setattr(train, "maybe_zero_3", 5)
    found = {finding.name: finding for finding in codebase.llava()}
    assert found["seam lora-targets"].level == found["seam gather-parameter"].level == found["seams"].level == "error"
    assert (
        "no such attribute" in found["seam lora-targets"].text and "found int 5" in found["seam gather-parameter"].text
    )
    assert found["seams"].details["found"] == len(SEAMS) - 2


def test_a_check_that_crashes_does_not_stop_the_others(monkeypatch):
    def broken() -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(codebase, "llava", broken)
    found = {finding.name: finding for finding in diagnose()}
    assert found["broken"].level == "error" and "RuntimeError: out of order" in found["broken"].text
    assert "expert dlib-68" in found


def stub(folder: Path, package: str, code: str) -> None:
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(code + "\n")


def broken_environment(folder: Path, *arguments: str) -> tuple[int, dict[str, Finding]]:
    result = llava_faba_command("doctor", "--json", *arguments, path=folder)
    assert "Traceback" not in result.stderr, result.stderr
    return result.returncode, {one["name"]: Finding(**one) for one in json.loads(result.stdout)}


def test_a_package_under_llava_that_does_not_import(tmp_path):
    """llava/model/__init__.py hides this: users see "cannot import name 'LlavaLlamaForCausalLM'"."""
    stub(tmp_path, "transformers", "raise RuntimeError('transformers is broken on purpose')")
    code, found = broken_environment(tmp_path)
    assert code == 1
    assert found["llava"].level == found["package transformers"].level == "error"
    told = "RuntimeError: transformers is broken on purpose (raised in transformers)"
    assert found["llava"].text == f"LLaVA is installed but does not import: {told}."
    assert found["package transformers"].text == f"does not import: {told}"
    again = f"pip install --force-reinstall --no-deps transformers=={version('transformers')}"
    for name in ("transformers", "peft"):
        assert (found[f"package {name}"].remedy or "").startswith(f"reinstall or update transformers: {again}, or pip ")
    assert found["expert dlib-68"].level == "ok"


def test_llava_next_and_a_deepspeed_that_raises(tmp_path):
    """LLaVA-NeXT's package has LLaVA's name and most of its modules; it is told by its files, and not imported."""
    for name in ("language_model/llava_llama.py", "language_model/llava_qwen.py", "multimodal_encoder/clip_encoder.py"):
        path = tmp_path / "llava" / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("class CLIPVisionTowerS2: ...\n")
    (tmp_path / "llava" / "__init__.py").write_text("raise SystemExit('imported')\n")
    stub(tmp_path, "deepspeed", "raise AttributeError('deepspeed does not know this torch')")
    code, found = broken_environment(tmp_path)
    assert code == 1
    assert found["llava"].level == "error" and found["llava"].details["code_base"] == "next"
    assert "LLaVA-NeXT, another project" in found["llava"].text and "does not support" in found["llava"].text
    assert "seams" not in found
    assert found["deepspeed"].level == "error" and "deepspeed does not know this torch" in found["deepspeed"].text
    assert "uninstall it" in (found["deepspeed"].remedy or "")


@pytest.mark.slow
def test_a_sentencepiece_whose_library_is_missing(tmp_path):
    """transformers 4 imports it in the middle of its own modules, LLaVA hides that; 5 imports it later."""
    stub(tmp_path, "sentencepiece", "raise ImportError('libsentencepiece.so.0: cannot open shared object file')")
    code, found = broken_environment(tmp_path)
    assert code == 1
    late = int(version("transformers").split(".")[0]) >= 5
    for name in ("package sentencepiece",) if late else ("package sentencepiece", "llava"):
        assert found[name].level == "error" and "libsentencepiece.so.0" in found[name].text
        assert "raised in sentencepiece" in found[name].text


@pytest.mark.slow
@pytest.mark.parametrize("package", ["sentencepiece", "peft", "requests"])
def test_a_package_that_is_not_installed(tmp_path, package):
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n")
    code, found = broken_environment(tmp_path)
    assert code == 1
    finding = found[f"package {package}"]
    assert finding.level == "error" and finding.text.startswith("not installed: ")
    assert (finding.remedy or "").startswith("pip install ") and package in (finding.remedy or "")


@pytest.mark.slow
def test_another_package_called_llava(tmp_path):
    stub(tmp_path, "llava", "raise ImportError('this llava is somebody else')")
    code, found = broken_environment(tmp_path)
    assert code == 1 and found["llava"].details["code_base"] == "unknown"
    assert "another package called 'llava'" in found["llava"].text


@pytest.mark.slow
def test_a_llava_whose_model_code_is_damaged(tmp_path):
    import importlib.util

    spec = importlib.util.find_spec("llava")
    assert spec is not None and spec.origin is not None
    tree = Path(shutil.copytree(Path(spec.origin).parent, tmp_path / "llava"))
    with (tree / "model" / "llava_arch.py").open("a") as file:
        file.write("import package_of_the_future\n")
    code, found = broken_environment(tmp_path)
    assert code == 1
    assert "ModuleNotFoundError: No module named 'package_of_the_future'" in found["llava"].text
    assert "raised in llava.model.llava_arch" in found["llava"].text


def test_without_llava_and_torch(tmp_path):
    """As after 'pip install llava-faba' alone."""
    hide = "import sys\nsys.modules.update(dict.fromkeys(('torch', 'llava', 'deepspeed', 'transformers')))\n"
    (tmp_path / "sitecustomize.py").write_text(hide)
    result = llava_faba_command("doctor", path=tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "[ERROR ] trial: " not in result.stdout and "[ERROR ] package torch: not installed" in result.stdout
    assert "[ERROR ] torch: not installed" in result.stdout and "[ERROR ] llava: not installed" in result.stdout
    assert "pip install --no-deps llava-torch==1.2.2.post1" in result.stdout
    assert "[ note ] deepspeed: not installed" in result.stdout
