"""What the converters write goes into the trainer's dataset and into the scorer as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faba_bench
import numpy as np
import pytest
from support import PRIOR_SIZE, SIDE

from llava_faba.datatools.convert import Options, convert
from llava_faba.datatools.mix import Source, mix
from llava_faba.datatools.stats import describe
from llava_faba.datatools.validate import validate
from llava_faba.datatools.wording import QUESTION_VARIANTS
from llava_faba.demo.base import BaseSize, build_base
from llava_faba.priors.writer import PriorStoreWriter, Row
from llava_faba.records.questions import questions_of
from llava_faba.records.vocabulary import AU_NAMES

torch = pytest.importorskip("torch")

DATASETS = [
    ("rafdb", "rafdb_tree", "raf-db"),
    ("affectnet", "affectnet_cropped", "affectnet-7"),
    ("affectnet", "affectnet_lists", "affectnet-7"),
    ("bp4d", "bp4d_master", "bp4d"),
    ("disfa", "disfa_tree", "disfa"),
    ("gft", "gft_tree", "gft"),
    ("emotionet", "emotionet_tree", "emotionet"),
]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tokenizer that can spell everything, as LLaMA's can, and an image processor."""
    from transformers import AutoTokenizer, CLIPImageProcessor

    folder = tmp_path_factory.mktemp("base")
    size = BaseSize(hidden=16, intermediate=16, layers=1, vocabulary=700, vision_hidden=16, image=SIDE, patch=SIDE // 4)
    texts = [text for variants in QUESTION_VARIANTS.values() for text in variants] + list(AU_NAMES.values())
    build_base(folder / "base", folder / "tower", [text.lower() for text in texts] + texts, size, 0)
    tokenizer = AutoTokenizer.from_pretrained(folder / "base", use_fast=False)
    tokenizer.pad_token = tokenizer.unk_token
    return tokenizer, CLIPImageProcessor.from_pretrained(folder / "tower")


@pytest.fixture
def trainer_data(parts: Any, registered: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """What LLaVA's ``train()`` makes of a training file: dataset and collator."""
    from llava import conversation
    from llava.train import train

    monkeypatch.setattr(conversation, "default_conversation", conversation.conv_templates["v1"])

    def make(path: Path, folder: Path, **more: Any) -> dict[str, Any]:
        arguments = SimpleNamespace(
            data_path=str(path),
            image_folder=str(folder),
            image_aspect_ratio="pad",
            is_multimodal=True,
            image_processor=parts[1],
            mm_use_im_start_end=False,
            **more,
        )
        return train.make_supervised_data_module(tokenizer=parts[0], data_args=arguments)

    return make


def taught(item: dict[str, torch.Tensor], tokenizer: Any) -> str:
    """The text that a training item's labels ask for, without spaces.

    LLaVA's masking counts the space behind "ASSISTANT:", which this tokenizer drops: its colon is taught as well.
    """
    labels = item["labels"]
    return "".join(tokenizer.decode(labels[labels != -100], skip_special_tokens=True).split()).removeprefix(":")


@pytest.mark.parametrize(("name", "tree", "protocol"), DATASETS)
def test_converted_files_validate_train_and_score(
    name: str,
    tree: str,
    protocol: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    load: Callable[[Path], list[dict[str, Any]]],
    parts: Any,
    trainer_data: Callable[..., dict[str, Any]],
) -> None:
    root = request.getfixturevalue(tree)
    report = convert(name, root, tmp_path, Options(vary_answers=True, vary_questions=True))
    task = report["task"]
    folds = ("fold1", "fold2", "fold3") if name in ("bp4d", "disfa") else ("",)
    for fold in folds:
        train, evaluation = (tmp_path / fold / f"{kind}_{task}_anno.json" for kind in ("train", "eval"))
        checked = validate([train, evaluation], image_folder=root, near_duplicates=False, strict=True)
        assert checked.ok, checked.to_text()

        records = load(train)
        module = trainer_data(train, root)
        dataset = module["train_dataset"]
        assert len(dataset) == len(records)
        numbers = range(0, len(records), max(1, len(records) // 5))
        items = [dataset[number] for number in numbers]
        for number, item in zip(numbers, items, strict=True):
            assert taught(item, parts[0]) == "".join(records[number]["conversations"][1]["value"].split())
            assert item["image"].shape == (3, SIDE, SIDE)
        batch = module["data_collator"](items)
        assert ((batch["input_ids"] == -200).sum(dim=1) == 1).all()

        wanted = load(evaluation)
        answers = [
            {"question_id": question["question_id"], "text": record["gpt4"]}
            for question, record in zip(questions_of(wanted, task), wanted, strict=True)
        ]
        (tmp_path / "answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
        result = faba_bench.score(task, protocol, evaluation, tmp_path / "answers.jsonl", bootstrap=0)
        assert result["n"] == len(wanted)
        strict = result["modes"]["strict"]
        assert strict["n_unparsed"] == 0
        assert all(sample["parsed"] == sample["target"] for sample in strict["samples"])
        rows = [row for row in strict["per_label"].values() if row["support"]]
        assert rows
        assert all(row.get("f1", row.get("recall")) == 1 for row in rows)


def test_priors_of_a_store_come_with_converted_records(
    rafdb_tree: Path, tmp_path: Path, load: Any, trainer_data: Callable[..., dict[str, Any]]
) -> None:
    convert("rafdb", rafdb_tree, tmp_path)
    train = tmp_path / "train_emotion_anno.json"
    priors = tmp_path / "priors"
    vectors = {}
    with PriorStoreWriter(priors, expert="emola-106", version="1", settings={}, size=PRIOR_SIZE) as writer:
        for number, record in enumerate(load(train)):
            vectors[record["image"]] = np.full(PRIOR_SIZE, number, np.float32)
            writer.append([Row(record["image"], vectors[record["image"]], "found", (12, 12))])
    assert validate([train], image_folder=rafdb_tree, priors=priors, strict=True, near_duplicates=False).ok
    dataset = trainer_data(train, rafdb_tree, facial_prior_store=str(priors))["train_dataset"]
    for number, record in enumerate(load(train)):
        assert np.array_equal(dataset[number]["facial_prior"].numpy(), vectors[record["image"]])


def test_a_mixture_of_two_datasets_trains_from_one_image_folder(
    rafdb_tree: Path, disfa_tree: Path, tmp_path: Path, load: Any, trainer_data: Callable[..., dict[str, Any]]
) -> None:
    convert("rafdb", rafdb_tree, tmp_path / "raf")
    convert("disfa", disfa_tree, tmp_path / "disfa")
    sources = [
        Source(tmp_path / "raf" / "train_emotion_anno.json", weight=2, prefix=rafdb_tree.name),
        Source(tmp_path / "disfa" / "fold1" / "train_au_anno.json", weight=0.5, prefix=disfa_tree.name),
    ]
    made = mix(sources, tmp_path / "mixed", val_fraction=0.3)
    folder = rafdb_tree.parent
    assert disfa_tree.parent == folder
    both = {record["source"] for record in load(tmp_path / "mixed" / "train.json")}
    assert both == {"RAF-DB", "DISFA"}
    for name, count in (("train", len(made.train)), ("val", len(made.val))):
        dataset = trainer_data(tmp_path / "mixed" / f"{name}.json", folder)["train_dataset"]
        assert len(dataset) == count > 0
        assert dataset[count - 1]["image"].shape == (3, SIDE, SIDE)
    # both tasks in one file, and the copies that a weight makes on purpose
    checked = validate([tmp_path / "mixed" / "train.json"], image_folder=folder, near_duplicates=False, strict=True)
    assert checked.ok, checked.to_text()
    figures = describe(tmp_path / "mixed" / "train.json")
    assert figures.task == "au and emotion"
    assert figures.unread == 0
    assert sum(figures.emotions.values()) + sum(figures.aus_per_sample.values()) == len(made.train)
