"""Token ids and texts equal those of the upstream stack, on which LLaVA's models were trained."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support import edit_json
from upstream_tokens import LEGACY, STORED, tokenize

from llava_faba.compat import engine
from llava_faba.errors import UserError

pytestmark = pytest.mark.newest


@pytest.fixture(autouse=True)
def mended() -> Iterator[None]:
    engine.mend_packages()
    yield
    engine.restore()


@pytest.mark.parametrize("kind", LEGACY)
def test_ids_and_texts_equal_the_upstream_stack(golden, tmp_path, kind):
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert tokenize(golden / "base", tmp_path / "base", LEGACY[kind]) == stored[kind]


def test_a_saved_tokenizer_loads_as_it_was(golden, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(golden / "base"), use_fast=False, model_max_length=99)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(str(tmp_path), use_fast=False)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "LlamaTokenizer" and settings["legacy"] is True
    assert again("A chat</s>B").input_ids == tokenizer("A chat</s>B").input_ids and again.model_max_length == 99


def test_a_llama_tokenizer_without_its_sentencepiece_model_is_refused(copied):
    from transformers import AutoTokenizer

    if "slow-tokenizer" not in engine.active():
        pytest.skip("transformers has a slow LLaMA tokenizer of its own, which says so itself")
    (copied / "base" / "tokenizer.model").unlink()
    with pytest.raises(UserError, match=r"no tokenizer\.model"):
        AutoTokenizer.from_pretrained(str(copied / "base"), use_fast=False)


def test_other_tokenizers_are_left_to_transformers(copied):
    from transformers import AutoTokenizer

    if "slow-tokenizer" not in engine.active():
        pytest.skip("nothing was replaced")
    assert AutoTokenizer.from_pretrained(str(copied / "base"), use_fast=True).is_fast
    edit_json(copied / "base" / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert AutoTokenizer.from_pretrained(str(copied / "base"), use_fast=False).is_fast
