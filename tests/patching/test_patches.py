"""The installed patches on copies of the installed LLaVA: strict, all or nothing, and taken back byte for byte."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from faba_bench.files.atomic import sweep
from support import ROOT, llava_faba_command

from llava_faba import patching
from llava_faba.cli.main import main
from llava_faba.errors import UserError
from llava_faba.patching import tree as trees
from llava_faba.patching.catalogue import patches_for
from llava_faba.patching.diff import PatchError, parse

Tree = dict[str, bytes]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the installed LLaVA's source tree."""
    spec = importlib.util.find_spec("llava")
    source = Path(str(spec.origin)).parent
    shutil.copytree(source, tmp_path / "tree" / "llava", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "tree"


def contents(tree: Path) -> Tree:
    return {str(path.relative_to(tree)): path.read_bytes() for path in sorted(tree.rglob("*")) if path.is_file()}


def names() -> list[str]:
    return [patch.name for patch in patches_for("wheel")]


def states(tree: Path) -> set[str]:
    return {patch.state for patch in patching.status(tree)}


def test_applied_once_and_taken_back_byte_for_byte(tree):
    before = contents(tree)
    assert patching.apply(tree) == names() and states(tree) == {"applied"}
    patched = contents(tree)
    assert patched.keys() == before.keys() and patched != before
    assert patching.apply(tree) == [] and contents(tree) == patched
    assert patching.revert(tree) == names() and states(tree) == {"applicable"}
    assert contents(tree) == before
    assert patching.revert(tree) == [] and contents(tree) == before


def test_in_any_order_the_result_is_the_same(tree):
    patching.apply(tree)
    patched = contents(tree)
    patching.revert(tree)
    for order in permutations(names()):
        for name in order:
            assert patching.apply(tree, [name]) == [name]
        assert contents(tree) == patched
        for name in order:
            assert patching.revert(tree, [name]) == [name]


@pytest.mark.parametrize("name", names())
def test_other_tools_apply_the_same_diffs(tree, name):
    file = next(ROOT.glob(f"patches/*/{name}.patch"))
    file = ROOT / "patches" / "wheel" / file.name if (ROOT / "patches" / "wheel" / file.name).exists() else file
    patching.apply(tree, [name])
    expected = contents(tree)
    patching.revert(tree)
    subprocess.run(["git", "init", "-q", str(tree)], check=True)  # so that git looks at no repository around it
    subprocess.run(["git", "apply", str(file)], cwd=tree, check=True)
    shutil.rmtree(tree / ".git")
    assert contents(tree) == expected


def test_a_tree_with_other_changes_keeps_them(tree):
    path = tree / "llava" / "eval" / "run_llava.py"
    path.write_text("# ours\n" + path.read_text())
    before = contents(tree)
    patching.apply(tree)
    assert path.read_text().startswith("# ours\n")
    patching.revert(tree)
    assert contents(tree) == before


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (
            lambda text: text.replace("device='cuda'", 'device="cuda"'),
            "hunk 1 (line 101): the lines that it changes are not there",
        ),
        (lambda text: text.replace("image_sizes=image_sizes,", "image_sizes = image_sizes,"), "hunk 2 (line 106)"),
        (lambda text: text + text, "are there 2 times"),
    ],
    ids=["a changed line", "a changed context", "twice"],
)
def test_a_changed_tree_is_refused_whole(tree, capsys, edit, told):
    path = tree / "llava" / "eval" / "model_vqa_loader.py"
    path.write_text(edit(path.read_text()))
    before = contents(tree)
    assert main(["patch", "--apply", "--tree", str(tree)]) == 2
    error = capsys.readouterr().err
    assert "patch 'eval-device', file llava/eval/model_vqa_loader.py, hunk" in error and told in error
    assert contents(tree) == before
    assert main(["patch", "--check", "--tree", str(tree)]) == 1
    assert "does not fit" in capsys.readouterr().out


def test_a_tree_edited_after_the_patch_is_not_taken_back(tree):
    patching.apply(tree)
    path = tree / "llava" / "__init__.py"
    path.write_text(path.read_text().replace("plugin.load()()", "plugin.load()"))
    before = contents(tree)
    with pytest.raises(PatchError, match=r"patch 'plugin-hook', file llava/__init__\.py, hunk 1"):
        patching.revert(tree)
    assert contents(tree) == before
    assert patching.revert(tree, ["eval-device"]) == ["eval-device"]


def test_a_missing_file_is_named(tree):
    (tree / "llava" / "train" / "train.py").unlink()
    with pytest.raises(PatchError, match=r"patch 'plugin-hook', file llava/train/train\.py: cannot be read"):
        patching.apply(tree)


@pytest.mark.parametrize("good", [0, 3, 16, 20])
def test_when_the_disk_fails_nothing_has_changed(tree, monkeypatch, good):
    """Eight files are written twice, then renamed: the disk fails at each of these stages."""
    before, steps = contents(tree), []

    def failing(original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            steps.append(args)
            if len(steps) == good + 1:
                raise OSError(28, "No space left on device")
            return original(*args, **options)

        return step

    monkeypatch.setattr(trees, "_write_beside", failing(trees._write_beside))
    monkeypatch.setattr(Path, "replace", failing(Path.replace))
    with pytest.raises(PatchError, match=r"cannot be written \(No space left on device\); nothing was changed"):
        patching.apply(tree)
    assert contents(tree) == before


def test_killed_between_two_files_the_next_run_works(tree):
    """Every number of files that can have been renamed before the kill; what the killed process left is removed."""
    before = contents(tree)
    patching.apply(tree)
    after = contents(tree)
    changed = [name for name in before if before[name] != after[name]]
    assert len(changed) > 5
    for count in range(1, len(changed)):
        for action, start, end in ((patching.apply, before, after), (patching.revert, after, before)):
            for number, name in enumerate(changed):
                (tree / name).write_bytes(end[name] if number < count else start[name])
            draft = (tree / changed[count]).with_name(".train.py.01234567.partial")
            draft.write_text("half")
            assert states(tree) <= {"applicable", "applied"}
            action(tree)
            sweep(draft.parent)  # as a new process does
            assert contents(tree) == end


def test_permissions_stay(tree):
    path = tree / "llava" / "eval" / "run_llava.py"
    path.chmod(0o751)
    patching.apply(tree)
    assert path.stat().st_mode & 0o777 == 0o751


def test_the_package_itself_may_be_named(tree):
    assert patching.status(tree / "llava") == patching.status(tree)


def test_the_installed_llava_is_the_default(capsys):
    spec = importlib.util.find_spec("llava")
    assert main(["patch", "--check"]) == 0
    assert str(Path(str(spec.origin)).parent) in capsys.readouterr().out


def test_no_tree_and_another_llava_are_refused(tree, tmp_path):
    with pytest.raises(PatchError, match="no LLaVA source tree"):
        patching.status(tmp_path)
    (tree / "llava" / "model" / "language_model" / "llava_qwen.py").touch()
    with pytest.raises(PatchError, match="LLaVA-NeXT"):
        patching.apply(tree)


def test_an_unknown_name_gets_a_hint(tree):
    with pytest.raises(UserError, match="Did you mean 'plugin-hook'"):
        patching.apply(tree, ["plugin-hooks"])


def test_code_bases_are_told_apart_by_what_is_there(tree):
    assert trees.find_code_base(tree) == "wheel"
    path = tree / "llava" / "model" / "multimodal_encoder" / "clip_encoder.py"
    path.write_text(path.read_text() + "\n# class CLIPVisionTowerS2(CLIPVisionTower) is not here\n")
    assert trees.find_code_base(tree) == "wheel"
    path.write_text(path.read_text() + "\nclass CLIPVisionTowerS2(CLIPVisionTower):\n    pass\n")
    assert trees.find_code_base(tree) == "git"


@pytest.mark.parametrize("code_base", ["wheel", "git"])
def test_every_patch_says_what_it_does(code_base):
    for patch in patches_for(code_base):
        assert patch.summary.endswith(".") and patch.files and not patch.summary.startswith("---")


def test_a_patch_that_adds_a_file_is_refused():
    with pytest.raises(ValueError, match="not just modified"):
        parse("new", "Adds.\n\n--- /dev/null\n+++ b/llava/new.py\n@@ -0,0 +1 @@\n+print()\n")


def test_it_works_where_llava_does_not_import(tree):
    (tree / "llava" / "model" / "__init__.py").write_text("raise RuntimeError('broken')\n")
    result = llava_faba_command("patch", "--check", path=tree)
    assert result.returncode == 0, result.stderr
    assert str(tree) in result.stdout and "applicable" in result.stdout
