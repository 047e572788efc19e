"""Dataset and collator as LLaVA's ``train()`` makes them: labels as the authors', priors beside the images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import ADAPTER, PRIOR_SIZE, SIDE

import llava_faba
from llava_faba.errors import PriorError, RecordError

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def parts(golden: Path) -> Any:
    tokenizer, model, processor, _ = llava_faba.load_model(golden / ADAPTER)
    tokenizer.pad_token = tokenizer.unk_token
    return tokenizer, model, processor


@pytest.fixture
def make(golden: Path, parts: Any, registered: None, monkeypatch: pytest.MonkeyPatch) -> Make:
    """``make_supervised_data_module`` of the patched train module, with the state that ``--version v1`` leaves."""
    from llava import conversation
    from llava.train import train

    monkeypatch.setattr(conversation, "default_conversation", conversation.conv_templates["v1"])

    def build(path: Path = golden / "data" / "train.json", folder: Path = golden / "data", **more: Any) -> Any:
        arguments = SimpleNamespace(
            data_path=str(path),
            image_folder=str(folder),
            image_aspect_ratio="pad",
            is_multimodal=True,
            image_processor=parts[2],
            mm_use_im_start_end=False,
            **more,
        )
        return train.make_supervised_data_module(tokenizer=parts[0], data_args=arguments)

    return build


@pytest.fixture
def records(copied: Path) -> list[dict[str, Any]]:
    return json.loads((copied / "data" / "train.json").read_text())


@pytest.fixture
def made_of(copied: Path, make: Make) -> Make:
    """The data module over a list of records, whose files lie in the copied folder."""

    def build(records: Any, **more: Any) -> Any:
        path = copied / "data" / "some.json"
        path.write_text(json.dumps(records))
        return make(path, copied / "data", **more)

    return build


def stored_prior(golden: Path, number: int) -> torch.Tensor:
    return torch.from_numpy(np.load(golden / "data" / "lm" / f"{number}.npy")).reshape(-1).float()


def batch_of(module: Any, *numbers: int) -> dict[str, torch.Tensor]:
    return module["data_collator"]([module["train_dataset"][number] for number in numbers])


@pytest.mark.parametrize("number", range(8))
def test_ids_labels_pixels_and_priors_equal_the_authors(make, golden, number):
    item = make()["train_dataset"][number]
    with np.load(golden / "expected.npz") as expected:
        assert item["input_ids"].tolist() == expected[f"train_ids_{number}"].tolist()
        assert item["labels"].tolist() == expected[f"labels_{number}"].tolist()
        assert np.abs(item["image"].numpy() - expected[f"px_{number}"]).max() < 1e-5
    assert item["facial_prior"].dtype == torch.float32
    assert torch.equal(item["facial_prior"], stored_prior(golden, number))


def test_the_file_is_read_once_and_nothing_that_upstream_sets_is_left_out(make, golden, parts, monkeypatch):
    """Two copies of two million records are 5 GB more in every process."""
    from llava.train import train

    reads = []
    original = json.load
    monkeypatch.setattr(train.json, "load", lambda *args, **kwargs: reads.append(1) or original(*args, **kwargs))
    dataset = make()["train_dataset"]
    assert not reads
    upstream = train.LazySupervisedDataset(str(golden / "data" / "train.json"), parts[0], dataset.data_args)
    assert reads and vars(upstream).keys() <= vars(dataset).keys()
    assert dataset.list_data_dict == upstream.list_data_dict and dataset.tokenizer is upstream.tokenizer


def test_a_batch_through_the_model_gives_the_authors_loss(make, parts, golden):
    with np.load(golden / "expected.npz") as expected:
        for number in (0, 5):
            with torch.no_grad():
                loss = parts[1](**batch_of(make(), number)).loss
            assert abs(loss.item() - expected[f"loss_{number}"]) < 1e-4


def test_a_batch_mixes_records_with_a_prior_without_and_text_only(made_of, records, parts, golden):
    del records[1]["landmark"]
    del records[2]["landmark"], records[2]["image"]
    records[2]["conversations"][0]["value"] = "What is AU4?"
    batch = batch_of(made_of(records[:3]), 0, 1, 2)
    assert batch["facial_priors"].shape == (3, PRIOR_SIZE) and batch["images"].shape == (3, 3, SIDE, SIDE)
    assert torch.equal(batch["facial_priors"][0], stored_prior(golden, 0))
    assert not batch["facial_priors"][1:].any() and not batch["images"][2].any()
    assert (batch["input_ids"] == -200).sum(dim=1).tolist() == [1, 1, 0]
    with torch.no_grad():
        assert parts[1](**batch).loss.isfinite()


def test_the_last_turns_of_long_conversations_are_learned_too(made_of, records, parts):
    turns = records[0]["conversations"]
    turns += [{"from": "human", "value": "And why?"}, {"from": "gpt", "value": "The lips part."}]
    labels = made_of(records[:1])["train_dataset"][0]["labels"]
    learned = parts[0].decode(labels[labels != -100])
    assert "The lips part." in learned and "Lips part" in learned and "And why?" not in learned


def test_records_none_of_which_has_a_prior_make_plain_batches(made_of, records):
    for record in records:
        del record["landmark"]
    module = made_of(records)
    assert module["train_dataset"].prior_size is None
    assert "facial_priors" not in batch_of(module, 0, 1)


def test_a_collator_for_a_plain_model_leaves_the_priors_out(make):
    module = make()
    module["data_collator"].with_priors = False
    assert "facial_priors" not in batch_of(module, 0, 1)


@pytest.mark.parametrize("shape", [(PRIOR_SIZE,), (106, 2), (1, 106, 2)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32])
def test_npy_files_of_any_shape_and_number_type_are_read(made_of, records, copied, shape, dtype):
    np.save(copied / "data" / "lm" / "0.npy", np.arange(PRIOR_SIZE, dtype=dtype).reshape(shape))
    item = made_of(records)["train_dataset"][0]
    assert item["facial_prior"].tolist() == list(range(PRIOR_SIZE))


def write_store(folder: Path, golden: Path, records: list[dict[str, Any]]) -> Path:
    from llava_faba.priors.writer import PriorStoreWriter, Row

    settings = {"size": PRIOR_SIZE}
    with PriorStoreWriter(folder, expert="precomputed", version="1", settings=settings, size=PRIOR_SIZE) as writer:
        writer.append(
            Row(record["image"], np.load(golden / "data" / record["landmark"]).reshape(-1), "found", (64, 64))
            for record in records
        )
    return folder


def test_a_store_gives_the_priors_of_the_files(make, made_of, golden, records, tmp_path):
    store = write_store(tmp_path / "store", golden, records)
    files = make()["train_dataset"].all_priors()
    for record in records:
        del record["landmark"]
    assert np.array_equal(made_of(records, facial_prior_store=str(store))["train_dataset"].all_priors(), files)


def test_text_only_records_need_nothing_in_a_store(made_of, golden, records, tmp_path):
    store = write_store(tmp_path / "store", golden, records)
    del records[0]["image"], records[0]["landmark"]
    records[0]["conversations"][0]["value"] = "What is AU4?"
    assert not made_of(records, facial_prior_store=str(store))["train_dataset"][0]["facial_prior"].any()


def test_an_image_that_the_store_does_not_have_is_named(made_of, golden, records, tmp_path):
    store = write_store(tmp_path / "store", golden, records[1:])
    with pytest.raises(RecordError, match=r"record 0 \(0\).*img/0.png"):
        made_of(records, facial_prior_store=str(store))


def test_a_store_that_is_not_there_is_named(make, tmp_path):
    with pytest.raises(PriorError, match="absent"):
        make(facial_prior_store=str(tmp_path / "absent"))


def break_everything(records: list[dict[str, Any]], data: Path) -> dict[int, str]:
    """Damage five of eight records in five ways; what must be said of each."""
    records[1]["image"] = "img/missing.png"
    (data / "lm" / "2.npy").write_bytes(b"no array")
    np.save(data / "lm" / "3.npy", np.zeros(PRIOR_SIZE - 2))
    records[4]["landmark"] = "lm/missing.npy"
    records[5]["conversations"] = [{"from": "human", "value": "<image>"}]
    return {
        1: "img/missing.png",
        2: "2.npy: not a readable .npy file",
        3: f"3.npy: holds {PRIOR_SIZE - 2} numbers, but the facial prior has {PRIOR_SIZE}",
        4: "lm/missing.npy: this facial prior does not exist",
        5: "'conversations' is not a list of at least two turns",
    }


def test_all_problems_are_listed_at_once(made_of, records, copied):
    wanted = break_everything(records, copied / "data")
    with pytest.raises(RecordError) as caught:
        made_of(records)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("some.json: 5 records have problems:")
    for number, text in wanted.items():
        assert any(line.startswith(f"  record {number} ({number}): ") and text in line for line in lines), text
    assert "--skip_bad_records True" in lines[-1] and "llava-faba data validate" in lines[-1]


def test_skip_bad_records_goes_on_and_reports_what_it_left_out(made_of, records, copied, golden, capsys, monkeypatch):
    from llava.train import train

    monkeypatch.setattr(train, "local_rank", 0)
    wanted = break_everything(records, copied / "data")
    dataset = made_of(records, skip_bad_records=True)["train_dataset"]
    assert [record["id"] for record in dataset.list_data_dict] == ["0", "6", "7"]
    assert torch.equal(dataset[1]["facial_prior"], stored_prior(golden, 6))
    assert len(dataset.modality_lengths) == len(dataset) == 3
    printed = capsys.readouterr().out
    assert "Left out" in printed and all(text in printed for text in wanted.values())


def test_skipping_every_record_is_an_error(made_of, records):
    for record in records:
        record["image"] = "img/none.png"
    with pytest.raises(RecordError, match="No record is left"):
        made_of(records, skip_bad_records=True)


def test_hundreds_of_problems_are_counted_and_twenty_shown(made_of, records):
    many = [{**records[0], "image": f"img/{number}.jpg"} for number in range(300)]
    with pytest.raises(RecordError) as caught:
        made_of(many)
    assert "300 records have problems" in str(caught.value) and "... and 280 more" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('[\n{"id": 1},\n{"id" 2}\n]', r"some.json, line 3, column 7"),
        ("", r"some.json, column 1"),
        ('{"id": 1}', r"expected a list of records, found an object|not an object|conversations"),
        ("[]", r"some.json: holds no records"),
    ],
    ids=["syntax", "empty file", "an object", "an empty list"],
)
def test_a_broken_annotation_file_is_named_with_its_line(make, tmp_path, content, told):
    (tmp_path / "some.json").write_text(content)
    with pytest.raises(RecordError, match=told):
        make(tmp_path / "some.json")


def test_a_missing_annotation_file_is_named(make, tmp_path):
    with pytest.raises(RecordError, match=r"absent.json: cannot be read: No such file"):
        make(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda record: None, "not an object but NoneType"),
        (lambda record: {**record, "image": 5}, "'image' is not a path"),
        (lambda record: {**record, "landmark": ["lm/0.npy"]}, "'landmark' is not a path"),
        (lambda record: {k: v for k, v in record.items() if k != "image"}, "has no image but '<image>' in its text"),
        (lambda record: with_question(record, "What emotion?"), "has an image and 0 times '<image>'"),
        (lambda record: with_question(record, "<image> <image>"), "has an image and 2 times '<image>'"),
        (lambda record: with_turn(record, {"from": "gpt"}), "a turn has no text under 'value'"),
        (lambda record: with_turn(record, {"from": "system", "value": ""}), "a turn is from 'system'"),
    ],
)
def test_a_malformed_record_is_named_not_a_crash(made_of, records, change, told):
    records[6] = change(records[6])
    with pytest.raises(RecordError) as caught:
        made_of(records)
    assert "record 6" in str(caught.value) and told in str(caught.value)


def with_question(record: dict[str, Any], text: str) -> dict[str, Any]:
    return {**record, "conversations": [{"from": "human", "value": text}, record["conversations"][1]]}


def with_turn(record: dict[str, Any], turn: dict[str, Any]) -> dict[str, Any]:
    return {**record, "conversations": [*record["conversations"], turn]}


def test_values_that_are_not_finite_or_no_numbers_are_refused(made_of, records, copied):
    values = np.zeros(PRIOR_SIZE)
    values[7] = np.nan
    np.save(copied / "data" / "lm" / "1.npy", values)
    np.save(copied / "data" / "lm" / "2.npy", np.array(["a"] * PRIOR_SIZE))
    with pytest.raises(RecordError) as caught:
        made_of(records)
    assert "1.npy: holds values that are not finite" in str(caught.value)
    assert "2.npy: holds <U1, not numbers" in str(caught.value)


def test_an_npy_file_with_pickled_objects_is_refused_and_does_not_run(made_of, records, copied, tmp_path):
    from support import TouchesWhenRead

    np.save(copied / "data" / "lm" / "1.npy", np.array([TouchesWhenRead(tmp_path / "mark")], object), allow_pickle=True)
    with pytest.raises(RecordError, match=r"1\.npy: not a readable \.npy file"):
        made_of(records)
    assert not (tmp_path / "mark").exists()


def test_a_broken_picture_is_found_when_it_is_read_and_named(made_of, records, copied):
    """Start-up does not decode every picture; no other picture is put in its place."""
    (copied / "data" / "img" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    dataset = made_of(records)["train_dataset"]
    with pytest.raises(RecordError, match=r"record 3 \(3\), image img/3.png: .*llava-faba data validate"):
        dataset[3]


@pytest.mark.parametrize(
    ("answer", "limit", "told"),
    [
        ("AU4 is there.</s>ASSISTANT: and so on", 512, "tokenization mismatch"),
        ("AU4 is there.", 20, "cut at --model_max_length 20, before the answer"),
    ],
)
def test_a_record_of_which_nothing_can_be_learned_is_an_error_that_shows_its_text(
    made_of, records, parts, monkeypatch, answer, limit, told
):
    """Upstream prints a warning at best, masks everything, and the loss is not a number."""
    monkeypatch.setattr(parts[0], "model_max_length", limit)
    records[1]["conversations"][1]["value"] = answer
    dataset = made_of(records)["train_dataset"]
    with pytest.raises(RecordError) as caught:
        dataset[1]
    assert told in str(caught.value) and "record 1 (1)" in str(caught.value)
    assert "gpt: AU4 is there." in str(caught.value)


def test_plain_llava_keeps_upstreams_warning(golden, parts, records, copied, monkeypatch, capsys):
    from llava import conversation
    from llava.train.train import LazySupervisedDataset

    monkeypatch.setattr(conversation, "default_conversation", conversation.conv_templates["v1"])
    monkeypatch.setattr(parts[0], "model_max_length", 512)
    records[1]["conversations"][1]["value"] = "AU4 is there.</s>ASSISTANT: and so on"
    path = copied / "data" / "some.json"
    path.write_text(json.dumps(records))
    arguments = SimpleNamespace(
        image_folder=str(copied / "data"),
        image_aspect_ratio="pad",
        is_multimodal=True,
        image_processor=parts[2],
        mm_use_im_start_end=False,
    )
    item = LazySupervisedDataset(str(path), parts[0], arguments)[1]
    assert (item["labels"] == -100).all() and "tokenization mismatch" in capsys.readouterr().out


def test_images_outside_the_folder_are_refused_unless_meant(made_of, records, copied, tmp_path):
    outside = copied / "outside.png"
    outside.write_bytes((copied / "data" / records[1]["image"]).read_bytes())
    records[1]["image"] = "../outside.png"
    with pytest.raises(RecordError, match=r"record 1 \(1\): \.\./outside\.png: leads out of"):
        made_of(records)
    assert len(made_of(records, allow_outside=True)["train_dataset"]) == len(records)


def test_a_picture_that_would_start_a_program_is_not_opened(made_of, records, copied):
    (copied / "data" / records[1]["image"]).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    dataset = made_of(records)["train_dataset"]
    with pytest.raises(RecordError, match="PostScript"):
        dataset[1]


def test_turns_that_training_would_stumble_over_are_found_before_it(made_of, records):
    records[2]["conversations"].append({"from": "gpt", "value": "And AU12."})
    records[3]["conversations"][1]["value"] = "<think>hm</think>AU1."
    with pytest.raises(RecordError) as caught:
        made_of(records)
    assert "record 2 (2): speakers are" in str(caught.value) and "record 3 (3): turn 1 holds a model" in str(
        caught.value
    )


@pytest.mark.parametrize("name", ["../outside.npy", "/etc/hostname", "link/outside.npy"])
def test_a_landmark_outside_the_image_folder_is_refused(tmp_path: Path, name: str) -> None:
    from llava_faba.data.priors import NumpyPriors

    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(tmp_path / "outside.npy", np.ones(4, np.float32))
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(PriorError, match=r"leads out|absolute"):
        NumpyPriors(folder, []).get({"landmark": name})
    if name != "/etc/hostname":
        assert len(NumpyPriors(folder, [], allow_outside=True).get({"landmark": name})) == 4


def test_every_picture_is_compared_with_the_store_where_asked_for(make, golden, tmp_path, monkeypatch):
    """A sample of two passes over the one picture that was replaced; all of them do not."""
    import shutil

    from PIL import Image

    from llava_faba.data import module
    from llava_faba.errors import PriorError
    from llava_faba.priors.content import Content
    from llava_faba.priors.writer import PriorStoreWriter, Row

    folder = tmp_path / "data"
    shutil.copytree(golden / "data", folder)
    images = sorted(f"img/{path.name}" for path in (folder / "img").iterdir())
    settings = {"size": PRIOR_SIZE}
    with PriorStoreWriter(
        tmp_path / "store", expert="precomputed", version="1", settings=settings, size=PRIOR_SIZE
    ) as writer:
        prior = np.ones(PRIOR_SIZE, np.float32)
        writer.append(Row(image, prior, "found", (64, 64), "", Content.of(folder / image)) for image in images)
    Image.new("RGB", (64, 64), (1, 2, 3)).save(folder / images[1])
    monkeypatch.setattr(module, "_PICTURES_COMPARED", 2)
    options = {"facial_prior_store": str(tmp_path / "store"), "folder": folder}
    make(**options)
    with pytest.raises(PriorError, match=r"1 of \d+ pictures that were compared"):
        make(**options, facial_prior_compare_all=True)
