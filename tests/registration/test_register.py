"""Registration: idempotent, undone without a trace, and refusing a LLaVA that does not fit."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
import threading
from typing import Any

import pytest
from support import ROOT, run_python

import llava_faba
from llava_faba.compat.engine import active
from llava_faba.compat.shims import SHIMS
from llava_faba.errors import SeamMismatchError, UpstreamError
from llava_faba.registration import engine, is_registered
from llava_faba.registration.seams import SEAMS, Seam
from llava_faba.upstream import import_llava

pytestmark = pytest.mark.newest
Attributes = dict[tuple[Any, str], object]


def upstream_attributes() -> Attributes:
    """Every attribute of every module of LLaVA, and of every class that LLaVA itself defines."""
    import_llava("llava.train.train")
    found: Attributes = {}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] != "llava" or module is None:
            continue
        for attribute, value in vars(module).items():
            if not attribute.startswith("__"):
                found[module, attribute] = value
            if inspect.isclass(value) and value.__module__ == name:
                found |= {(value, key): member for key, member in vars(value).items()}
    return found


def changed(before: Attributes) -> set[tuple[Any, str]]:
    """Which of the attributes now hold another object, or are gone."""
    return {(owner, name) for (owner, name), value in before.items() if vars(owner).get(name) is not value}


def owner_and_name(seam: Seam) -> tuple[Any, str]:
    owner: Any = importlib.import_module(seam.module)
    *parents, name = seam.attribute.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name


def test_register_replaces_the_seams_and_copies_of_their_functions_and_nothing_else():
    before = upstream_attributes()
    llava_faba.register()
    try:
        touched = changed(before)
        seams = {owner_and_name(seam) for seam in SEAMS}
        functions = {seam.attribute for seam in SEAMS if not seam.is_class}
        mended = {shim.attribute.split(".")[-1] for shim in SHIMS if shim.name in active()}
        assert seams <= touched
        assert {name for _, name in touched - seams} <= functions | mended
    finally:
        llava_faba.unregister()


def test_registering_twice_wraps_once(registered):
    once = upstream_attributes()
    llava_faba.register()
    assert not changed(once)


def test_unregister_restores_every_original_and_may_be_repeated():
    before = upstream_attributes()
    for _ in range(2):
        llava_faba.register()
        assert is_registered() and changed(before)
        llava_faba.unregister()
        llava_faba.unregister()
        assert not is_registered()
        assert not changed(before)


def test_every_replacement_is_marked_with_its_seam(registered):
    for seam in SEAMS:
        assert getattr(*owner_and_name(seam)).__llava_faba_seam__ == seam.name


def test_the_model_type_is_known_to_transformers_while_registered():
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    llava_faba.register()
    assert AutoConfig.for_model("emollava").model_type == "emollava"
    llava_faba.unregister()
    assert "emollava" not in CONFIG_MAPPING


def test_modules_that_copied_a_function_are_covered_whenever_they_were_imported():
    """``from llava.model.builder import load_pretrained_model``, before and after registration."""
    pytest.importorskip("requests")
    early = importlib.import_module("llava.serve.cli")
    sys.modules.pop("llava.eval.run_llava", None)
    original = early.load_pretrained_model
    llava_faba.register()
    try:
        from llava.model import builder

        late = importlib.import_module("llava.eval.run_llava")
        replacement = builder.load_pretrained_model
        assert replacement is not original
        assert early.load_pretrained_model is late.load_pretrained_model is replacement
    finally:
        llava_faba.unregister()
    assert early.load_pretrained_model is late.load_pretrained_model is original


def test_a_class_keeps_its_identity_outside_the_module_that_the_seam_names(registered):
    import llava.model
    from llava.model import builder
    from llava.model.language_model import llava_llama

    assert builder.LlavaLlamaForCausalLM is not llava_llama.LlavaLlamaForCausalLM
    assert llava.model.LlavaLlamaForCausalLM is llava_llama.LlavaLlamaForCausalLM
    assert not hasattr(llava_llama.LlavaLlamaForCausalLM, "__llava_faba_seam__")


def other_kind(original: Any) -> Any:
    return "something else"


def same_kind_without_members(original: Any) -> Any:
    return type("Stranger", (), {}) if inspect.isclass(original) else lambda: None


@pytest.mark.parametrize("wrong", [other_kind, same_kind_without_members])
@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.name)
def test_an_upstream_that_does_not_fit_is_refused_and_left_alone(seam, wrong, monkeypatch):
    owner, name = owner_and_name(seam)
    monkeypatch.setattr(owner, name, wrong(getattr(owner, name)))
    before = upstream_attributes()
    with pytest.raises(SeamMismatchError) as caught:
        llava_faba.register()
    error = caught.value
    assert error.seam == seam.name
    assert f"seam '{seam.name}'" in str(error) and error.expected in str(error) and error.found in str(error)
    assert seam.target in error.expected
    assert ("something else" if wrong is other_kind else seam.parameters[0]) in error.found
    assert not is_registered() and not changed(before)


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.name)
def test_a_missing_upstream_attribute_is_refused(seam, monkeypatch):
    owner, name = owner_and_name(seam)
    monkeypatch.delattr(owner, name)
    before = upstream_attributes()
    with pytest.raises(SeamMismatchError, match=f"seam '{seam.name}'.*found no such attribute"):
        llava_faba.register()
    assert not is_registered() and not changed(before)


def test_a_factory_that_fails_half_way_leaves_nothing_behind(monkeypatch):
    before = upstream_attributes()
    broken = dataclasses.replace(SEAMS[-1], factory="llava_faba.training.session:no_such_factory")
    monkeypatch.setattr(engine, "SEAMS", (*SEAMS[:-1], broken))
    with pytest.raises(AttributeError, match="no_such_factory"):
        llava_faba.register()
    assert not is_registered() and not changed(before)


def test_threads_that_register_at_once_register_once():
    before = upstream_attributes()
    threads = [threading.Thread(target=llava_faba.register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        targets = [(id(change.owner), change.name) for change in engine._applied]
        assert len(targets) == len(set(targets))
    finally:
        llava_faba.unregister()
    assert not changed(before)


IMPORTED_UNDER_A_LOCK = """
import sys
from importlib.abc import MetaPathFinder
from llava_faba.compat import engine as compat
from llava_faba.registration import engine

found = []

class Watch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        held = engine._lock._is_owned() or compat._lock._is_owned()
        if held and name.split(".")[0] in ("llava", "llava_faba"):
            found.append(name)

sys.meta_path.insert(0, Watch())
engine.register()
print(engine.is_registered(), found)
"""


def test_nothing_of_ours_or_llavas_is_imported_while_a_lock_is_held():
    """Else a thread that imports it, and by that calls register(), and this one would wait for each other."""
    result = run_python("-c", IMPORTED_UNDER_A_LOCK)
    assert result.stdout.strip() == "True []", result.stderr[-3000:]


@pytest.mark.parametrize(
    ("stub", "told"),
    [
        (
            "raise ModuleNotFoundError(\"No module named 'einops_of_yesterday'\")",
            "No module named 'einops_of_yesterday'",
        ),
        ("import llava_is_something_else_here", "llava_is_something_else_here"),
    ],
)
def test_a_llava_that_does_not_import_gives_the_real_cause(tmp_path, stub, told):
    package = tmp_path / "llava"
    package.mkdir()
    (package / "__init__.py").write_text(stub + "\n")
    code = "import llava_faba\ntry: llava_faba.register()\nexcept Exception as e: print(type(e).__name__, e)"
    output = run_python("-c", code, path=tmp_path).stdout
    assert output.startswith(UpstreamError.__name__) and told in output and "llava-faba doctor" in output


COMMANDS = "from llava_faba.cli.main import main, COMMANDS"
NOTHING_HEAVY = (
    "import sys; heavy = {'torch', 'llava', 'transformers'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
)


@pytest.mark.parametrize(
    "code",
    [
        "import llava_faba; dir(llava_faba)",
        f"{COMMANDS}\ntry: main(['--help'])\nexcept SystemExit: pass",
        f"{COMMANDS}\nfor c in COMMANDS:\n  try: main([c, '--help'])\n  except SystemExit: pass",
        "from llava_faba.experts import expert_names; assert 'dlib-68' in expert_names()",
    ],
    ids=["import", "help", "help of every command", "names of experts"],
)
def test_loads_neither_torch_nor_llava(code):
    result = run_python("-c", f"{code}\n{NOTHING_HEAVY}")
    assert result.returncode == 0, result.stderr


def test_architecture_page_lists_exactly_the_seams():
    page = ROOT / "docs" / "architecture.md"
    if not page.is_file():
        pytest.skip("docs/architecture.md is not written yet")
    table = page.read_text().partition("## The table of seams")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    listed = [tuple(cell.strip(" `").replace(" : ", ":") for cell in row.strip("|").split("|")) for row in rows]
    assert listed == [(seam.name, seam.target, seam.factory, seam.why) for seam in SEAMS]


def test_setup_cfg_lists_every_package():
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    # From folders beside them:
    found = {"llava_faba.patches", "llava_faba.recipes", "llava_faba.scripts", "faba_bench.lmms_eval_tasks"}
    for top, package in ((ROOT, "llava_faba"), (ROOT / "eval", "faba_bench")):
        for init in (top / package).rglob("__init__.py"):
            found.add(".".join(init.parent.relative_to(top).parts))
    assert listed == found
