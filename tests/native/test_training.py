# ruff: noqa: E402 - what is imported late needs transformers 5
"""``llava-faba train``: the authors' trajectory, what is refused before the first step, going on, and what loads."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if int(transformers.__version__.split(".")[0]) < 5:
    pytest.skip("the native model needs transformers 5", allow_module_level=True)
pytest.importorskip("trl")
yaml = pytest.importorskip("yaml")

from native.folders import trained_place, training
from support import PATCHES, ROOT

from llava_faba.cli.main import main
from llava_faba.conversion.names import to_native
from llava_faba.errors import UserError
from llava_faba.images import open_image
from llava_faba.native_training.config import _settings, read_settings
from llava_faba.native_training.data import TrainingData
from llava_faba.native_training.encoding import Encoder, Taught
from llava_faba.native_training.models import load_base
from llava_faba.native_training.run import prepare, trainer_arguments


@pytest.fixture(scope="module")
def place(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the golden base, converted (``base``), and its records and pictures (``data``)."""
    return trained_place(golden, tmp_path_factory.mktemp("train"))


def written(place: Path, name: str, **changes: Any) -> Path:
    """A training of five steps on all eight records, as the golden one; ``changes``: other settings."""
    settings = training(
        name,
        {"per_device_train_batch_size": 8, "max_steps": 5},
        dtype="float32",
        image_projector_rate=2e-5,
        lora={"r": 8, "alpha": 16, "dropout": 0.0, "modules": ["multi_modal_projector"]},
    )
    for key, value in changes.items():
        section, _, inner = key.partition("__")
        if inner:
            settings[section] = {**settings.get(section, {}), inner: value}
        else:
            settings[key] = value
    path = place / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


class AsLlavaMasks(Encoder):
    """LLaVA masks two tokens less than "ASSISTANT: " has: LLaMA's tokenizer makes one of the last space, the golden
    tokenizer makes none. So there LLaVA teaches the ":" before the answer, too."""

    def taught(self, record: Any) -> Taught:
        one = super().taught(record)
        colon = self.tokenizer(one.text)["input_ids"][-len(one.tail) - 1]
        return replace(one, tail=(colon, *one.tail), labels=(colon, *one.labels))


def test_tokens_are_llavas(place: Path, golden: Path) -> None:
    """Also the labels, but for the ":" of ``AsLlavaMasks``: here answers alone are learnt."""
    expected = np.load(golden / "expected.npz")
    settings = read_settings(written(place, "tokens"))
    data = TrainingData(settings)
    model, processor, _ = load_base(settings, data)
    for number, record in enumerate(data.list_data_dict):
        prior = data.priors.get(record)
        picture = open_image(data.folder / record["image"])
        for kind, more in ((Encoder, 0), (AsLlavaMasks, 1)):
            batch = kind(model, processor).batch([record], [picture], [prior])
            known, labels = (expected[f"{what}_{number}"].tolist() for what in ("train_ids", "labels"))
            place_of = known.index(-200)
            image = [model.config.image_token_id] * (PATCHES + 1)
            assert batch["input_ids"][0].tolist() == [*known[:place_of], *image, *known[place_of + 1 :]]
            found = batch["labels"][0].tolist()
            wanted = [*labels[:place_of], *[-100] * (PATCHES + 1), *labels[place_of + 1 :]]
            if not more:
                colon = next(index for index, label in enumerate(wanted) if label != -100)
                assert processor.decode([wanted[colon]]) == ":"
                wanted[colon] = -100
            assert found == wanted
        assert np.array_equal(batch["facial_priors"][0].numpy(), prior)


def test_five_steps_equal_the_authors_losses(place: Path, golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/data/golden/training: losses of five steps from the same weights. (The authors' tower was float16.)"""
    monkeypatch.setattr("llava_faba.native_training.run.Encoder", AsLlavaMasks)
    folder = golden.parent / "training"
    wanted = json.loads((folder / "trajectory.json").read_text())
    settings = read_settings(written(place, "golden"))
    trainer, _ = prepare(settings, trainer_arguments(settings))
    named = dict(trainer.model.named_parameters())
    initial = np.load(folder / "trajectory.npz")
    trained = {name for name, value in named.items() if value.requires_grad}
    mapped = {native(name.removeprefix("initial/")): name for name in initial.files if name.startswith("initial/")}
    assert mapped.keys() == trained
    with torch.no_grad():
        for name, source in mapped.items():
            named[name].copy_(torch.from_numpy(initial[source]))
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert np.allclose(losses, wanted["losses"], rtol=0, atol=1e-5)
    rates = {group["lr"] for group in trainer.optimizer.param_groups}
    assert rates == {1e-3, 2e-5}


def native(name: str) -> str:
    """A trained tensor's name under PEFT in LLaVA's home, as it is under PEFT here."""
    head, inner = "base_model.model.", name.removeprefix("base_model.model.")
    if ".lora_" in inner:
        module, _, rest = inner.partition(".lora_")
        return f"{head}{str(to_native(module + '.weight')).removesuffix('.weight')}.lora_{rest}"
    found = str(to_native(inner))
    module, number, kind = found.rsplit(".", 2)
    return f"{head}{module}.modules_to_save.default.{number}.{kind}"


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    """A whole run by the command: four steps, a checkpoint at the second, answers at the second and the last."""
    records = json.loads((place / "data/train.json").read_text())
    questions = [
        {
            "id": f"e{record['id']}",
            "image": record["image"],
            "landmark": record["landmark"],
            "label": "1, 4, 12",
            "gpt4": record["conversations"][1]["value"],
        }
        for record in records[:2]
    ]
    (place / "data/test.json").write_text(json.dumps(questions))
    validation = {"records": "data/test.json", "task": "au", "protocol": "faba", "steps": 2, "max_new_tokens": 4}
    assert main(["train", str(short(place, "run", validation=validation))]) == 0
    return place / "run"


def short(place: Path, name: str, **changes: Any) -> Path:
    more = {
        "trainer__max_steps": 4,
        "trainer__per_device_train_batch_size": 2,
        "trainer__save_strategy": "steps",
        "trainer__save_steps": 2,
        "trainer__dataloader_num_workers": 0,
        "lora__dropout": 0.1,
    }
    return written(place, name, **{**more, **changes})


def logits(model: Any, processor: Any, golden: Path) -> torch.Tensor:
    picture, prior = open_image(golden / "data/img/0.png"), np.load(golden / "data/lm/0.npy")
    inputs = processor(
        images=picture, text="USER: <image>\nWhat AUs? ASSISTANT:", facial_priors=prior, return_tensors="pt"
    )
    with torch.no_grad():
        return model.eval()(**inputs).logits


def test_adapter_and_merged_model_load_and_agree(trained: Path, place: Path, golden: Path) -> None:
    from peft import PeftModel

    from llava_faba.inference.loading import load_model

    auto = transformers.AutoModelForImageTextToText
    processor = transformers.AutoProcessor.from_pretrained(trained)
    base = auto.from_pretrained(place / "base")
    before = logits(base, processor, golden)
    by_peft = logits(PeftModel.from_pretrained(base, str(trained)), processor, golden)
    by_auto = logits(auto.from_pretrained(trained), processor, golden)
    merged = logits(
        auto.from_pretrained(trained / "merged"), transformers.AutoProcessor.from_pretrained(trained / "merged"), golden
    )
    assert (by_peft - before).abs().max() > 1e-3
    assert (by_auto - by_peft).abs().max() < 1e-5 and (merged - by_peft).abs().max() < 1e-5
    _, model, ours, _ = load_model(str(trained / "merged"), device="cpu", dtype="float32")
    assert torch.equal(logits(model, ours, golden), merged)


def test_answers_are_scored_in_between_and_at_the_end(trained: Path) -> None:
    history = json.loads((trained / "trainer_state.json").read_text())["log_history"]
    scored = [line for line in history if "eval_strict_rege" in line]
    assert [line["step"] for line in scored] == [2, 4]
    for line in scored:
        answers = (trained / f"faba_eval/step-{line['step']}.jsonl").read_text().splitlines()
        assert len(answers) == 2 and {json.loads(answer)["image"] for answer in answers} == {"img/0.png", "img/1.png"}
        assert json.loads((trained / f"faba_eval/step-{line['step']}.json").read_text())["eval_unreadable"] >= 0


def test_it_goes_on_to_the_same_weights(trained: Path, place: Path, capsys: Any) -> None:
    """Killed while it saved its last checkpoint: that one is passed over, and the end is the same to the bit."""
    from safetensors.torch import load_file

    known = load_file(trained / "adapter_model.safetensors")
    shutil.copytree(trained / "checkpoint-2", place / "again/checkpoint-2")
    shutil.copytree(trained / "checkpoint-4", place / "again/checkpoint-4")
    (place / "again/checkpoint-4/optimizer.pt").write_bytes(b"")
    with pytest.warns(UserWarning, match="checkpoint-4 is not complete"):
        assert main(["train", str(short(place, "again", merge=False))]) == 0
    assert "Going on from" in capsys.readouterr().out
    found = load_file(place / "again/adapter_model.safetensors")
    assert found.keys() == known.keys() and all(torch.equal(found[name], known[name]) for name in known)
    assert main(["train", str(short(place, "again", merge=False, lora__dropout=0.0))]) == 2
    told = capsys.readouterr().err
    assert "was saved by another run" in told and "dropout" in told


def test_a_run_does_not_go_on_with_other_content_under_the_same_names(trained: Path, place: Path, capsys: Any) -> None:
    """Base weights, priors and pictures that were exchanged, with every name and config as it was."""
    from safetensors.torch import load_file, save_file

    def refused(name: str) -> str:
        shutil.copytree(trained / "checkpoint-2", place / name / "checkpoint-2")
        assert main(["train", str(short(place, name, merge=False))]) == 2
        return str(capsys.readouterr().err)

    weights = place / "base/model.safetensors"
    prior, picture = (place / "data" / part for part in ("lm/0.npy", "img/0.png"))
    kept = {path: path.read_bytes() for path in (weights, prior, picture)}
    try:
        tensors = load_file(weights)
        name = next(name for name in tensors if name.endswith("o_proj.weight"))
        save_file({**tensors, name: tensors[name] * 1.5}, weights, metadata={"format": "pt"})
        assert "model" in refused("other-weights")
        weights.write_bytes(kept[weights])
        np.save(prior, np.load(prior) + 1)
        assert "priors" in refused("other-prior")
        prior.write_bytes(kept[prior])
        picture.write_bytes((place / "data/img/1.png").read_bytes())
        assert "pictures" in refused("other-picture")
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def test_what_would_train_otherwise_than_is_written_ends_before_the_first_step(place: Path, capsys: Any) -> None:
    records = json.loads((place / "data/train.json").read_text())

    def told(change: Any, **changes: Any) -> str:
        copy = json.loads(json.dumps(records))
        change(copy)
        (place / "data/bad.json").write_text(json.dumps(copy))
        assert main(["train", str(short(place, "bad", records="data/bad.json", **changes))]) == 2
        return str(capsys.readouterr().err)

    def nothing(_: Any) -> None: ...

    def answer(text: str) -> Any:
        return lambda all_of_them: all_of_them[3]["conversations"][1].update(value=text)

    assert "record 3" in (said := told(answer("AU1 </s> AU2"))) and "</s>" in said
    assert "its answer is cut" in told(answer("AU1 " * 400)) and "8 records" in told(nothing, max_length=30)
    assert "is not read" in told(lambda some: some[2].update(imag=some[2].pop("image")))
    assert "no record has a facial prior" in told(lambda some: [one.pop("landmark") for one in some])
    assert "no module 'mm_projector'" in told(nothing, lora__modules=["mm_projector"])
    assert "name of no module" in told(nothing, lora__targets="q_projj")
    assert not (place / "bad" / "checkpoint-2").exists()


def test_a_store_of_other_pictures_or_of_another_expert(place: Path, capsys: Any) -> None:
    """The golden priors as stores: a picture is told by its content, an expert by its name."""
    from llava_faba.priors.content import Content
    from llava_faba.priors.writer import PriorStoreWriter, Row

    config = json.loads((place / "base/config.json").read_text())
    records = json.loads((place / "data/train.json").read_text())
    shifted = {record["image"]: records[(number + 1) % 8]["image"] for number, record in enumerate(records)}
    for name, expert, file_of in (
        ("swapped", "precomputed", shifted),
        ("dlib", "dlib-68", {image: image for image in shifted}),
    ):
        size = config["landmark_feature_hidden_size"]
        with PriorStoreWriter(place / name, expert=expert, version="1", settings={}, size=size) as writer:
            writer.append(
                Row(image, np.ones(size, np.float32), "found", content=Content.of(place / "data" / file))
                for image, file in file_of.items()
            )
    config["facial_prior_expert"] = "emola-106"
    shutil.copytree(place / "base", place / "other")
    (place / "other/config.json").write_text(json.dumps(config))
    assert main(["train", str(short(place, "bad", priors="swapped"))]) == 2
    assert "8 of 8 pictures that were compared are not those" in capsys.readouterr().err
    assert main(["train", str(short(place, "bad", priors="dlib", model="other"))]) == 2
    assert "holds priors of 'dlib-68', the model was made for those of 'emola-106'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rat": 1}, "learning_rate"),
        ({"learning_rate": "fast"}, "give a float"),
        ({"dtype": "int8"}, "none of float32"),
        ({"lora": [1]}, "give a mapping"),
        ({"lora__rank": 4}, "lora has no setting 'rank'"),
        ({"trainer__max_length": 3}, "what sets it: max_length"),
        ({"trainer__learning_rate": 3}, "what sets it: learning_rate"),
        ({"trainer__max_stepss": 3}, "--max_stepss"),
        ({"trainer__max_steps": "many"}, "invalid int value"),
        ({"model": "./absent"}, "there is no folder"),
        ({"attach": {"normalization": "none"}}, "attach needs 'priors'"),
        ({"train": 2}, "begins with 'train: 1'"),
        ({"validation": {"records": "x", "task": "au"}}, "validation lacks protocol"),
    ],
)
def test_a_faulty_file_names_the_key(place: Path, capsys: Any, change: dict[str, Any], message: str) -> None:
    assert main(["train", str(written(place, "faulty", **change))]) == 2
    assert message in capsys.readouterr().err


def test_numbers_as_yaml_writes_them(place: Path) -> None:
    """YAML 1.1 takes 1e-5 for a text."""
    path = written(place, "numbers")
    path.write_text(
        path.read_text()
        .replace("learning_rate: 0.001", "learning_rate: 1e-5")
        .replace("max_steps: 5", "max_steps: 5\n  weight_decay: 1e-2")
    )
    arguments = trainer_arguments(read_settings(path))
    assert (arguments.learning_rate, arguments.weight_decay) == (1e-5, 1e-2)


@pytest.mark.parametrize("path", sorted((ROOT / "examples/native_training").glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_read(path: Path) -> None:
    """They were not run at their size: the files are what the parsers take."""
    text = path.read_text()
    settings = read_settings(path) if "emola" not in path.stem else None
    if settings is None:  # its model is a folder that is not here
        path = path.with_name(path.name)
        with pytest.raises(UserError, match="there is no folder"):
            read_settings(path)
        settings = _settings(yaml.safe_load(text))
    arguments = trainer_arguments(replace(settings, dtype="float32"))
    assert arguments.gradient_accumulation_steps >= 4 and settings.validation is not None
    assert settings.learning_rate in (2e-4, 1e-4) and "ot run" in text
