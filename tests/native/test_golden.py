# ruff: noqa: E402 - what is imported late needs transformers 5
"""The golden checkpoint, converted, in transformers' own classes: what the authors' implementation computed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)

from PIL import Image
from support import ADAPTER, PATCHES

from llava_faba.cli.main import main

QUESTION = "What AUs are conveyed by this face?"


@pytest.fixture(scope="module")
def converted(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("native") / "hf"
    assert main(["checkpoint", "to-transformers", "--model-path", str(golden / ADAPTER), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def home(converted: Path) -> tuple[Any, Any]:
    """(model, processor), by the Auto classes."""
    import llava_faba.native  # noqa: F401

    model = transformers.AutoModelForImageTextToText.from_pretrained(converted).eval()
    return model, transformers.AutoProcessor.from_pretrained(converted)


@pytest.fixture(scope="module")
def expected(golden: Path) -> tuple[Any, Any]:
    return np.load(golden / "expected.npz"), json.loads((golden / "expected.json").read_text())


def asked(golden: Path, processor: Any, number: int) -> Any:
    image = Image.open(golden / f"data/img/{number}.png").convert("RGB")
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}
    prompt = processor.apply_chat_template([turn], add_generation_prompt=True)
    prior = np.load(golden / f"data/lm/{number}.npy")
    return prompt, processor(images=image, text=prompt, facial_priors=prior, return_tensors="pt")


@pytest.mark.parametrize("number", range(8))
def test_ids_pixels_logits_and_answers(home: Any, expected: Any, golden: Path, number: int) -> None:
    model, processor = home
    numbers, texts = expected
    prompt, inputs = asked(golden, processor, number)
    assert prompt == texts["prompts"][number]
    placeholders = [model.config.image_token_id] * (PATCHES + 1)
    ids = [one for token in numbers[f"ids_{number}"].tolist() for one in ([token] if token >= 0 else placeholders)]
    assert inputs["input_ids"][0].tolist() == ids
    assert np.array_equal(inputs["pixel_values"][0].numpy(), numbers[f"px_{number}"])
    with torch.no_grad():
        logits = model(**inputs).logits[0].numpy()
    known = numbers[f"logits_{number}"]
    assert np.abs(logits[:, : known.shape[1]] - known).max() < 1e-5
    made = model.generate(**inputs, do_sample=False, max_new_tokens=40)[0, len(ids) :]
    assert made.tolist() == numbers[f"gen_{number}"].tolist()
    assert processor.decode(made, skip_special_tokens=True) == texts["texts"][number]


def test_another_prior_is_another_answer(home: Any, golden: Path) -> None:
    model, processor = home
    _, inputs = asked(golden, processor, 0)
    with torch.no_grad():
        right = model(**inputs).logits
        other = model(**{**inputs, "facial_priors": inputs["facial_priors"] + 1}).logits
    assert (right - other).abs().max() > 1e-3


def test_saved_and_loaded_again_it_is_the_same(home: Any, golden: Path, tmp_path: Path) -> None:
    model, processor = home
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    _, inputs = asked(golden, transformers.AutoProcessor.from_pretrained(tmp_path), 3)
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)


def test_a_prior_of_another_size_is_refused(home: Any, golden: Path) -> None:
    model, processor = home
    _, inputs = asked(golden, processor, 0)
    with pytest.raises(Exception, match="212"):
        model(**{**inputs, "facial_priors": torch.zeros(1, 136)})


def test_importing_it_imports_no_llava() -> None:
    code = (
        "import sys, llava_faba.native; sys.exit(any(n.split('.')[0] in ('llava', 'torchvision') for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0


def test_a_folder_that_is_not_empty_and_a_plain_model_are_refused(golden: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    command = ["checkpoint", "to-transformers", "--model-path"]
    assert main([*command, str(golden / ADAPTER), "--out", str(tmp_path / "full")]) == 2
    assert (tmp_path / "full" / "mine").exists() and "exists already" in capsys.readouterr().err
    assert main([*command, str(golden / "base"), "--out", str(tmp_path / "plain")]) == 2
    assert not (tmp_path / "plain").exists()
