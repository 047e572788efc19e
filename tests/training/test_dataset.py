"""Dataset and collator: labels as the authors', priors beside the images."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import llava_faba
from llava_faba.errors import RecordError


@pytest.fixture
def make(golden, registered, monkeypatch):
    from llava import conversation
    from llava.train import train

    monkeypatch.setattr(conversation, "default_conversation", conversation.conv_templates["v1"])
    tokenizer, _, processor, _ = llava_faba.load_model(golden / "llava-v1-lora-emola-tiny")
    tokenizer.pad_token = tokenizer.unk_token

    def build(path=golden / "data/train.json", **more):
        arguments = SimpleNamespace(
            data_path=str(path),
            image_folder=str(golden / "data"),
            image_aspect_ratio="pad",
            is_multimodal=True,
            image_processor=processor,
            mm_use_im_start_end=False,
            **more,
        )
        return train.make_supervised_data_module(tokenizer=tokenizer, data_args=arguments)

    return build


def test_ids_labels_and_priors_equal_the_golden_data(make, golden):
    dataset = make()["train_dataset"]
    with np.load(golden / "expected.npz") as expected:
        for record in range(8):
            item = dataset[record]
            assert item["input_ids"].tolist() == expected[f"train_ids_{record}"].tolist()
            assert item["labels"].tolist() == expected[f"labels_{record}"].tolist()
            stored = np.load(golden / f"data/lm/{record}.npy").reshape(-1)
            assert torch.equal(item["facial_prior"], torch.from_numpy(stored).float())


def test_a_batch_mixes_records_with_prior_without_and_text_only(make, golden, tmp_path):
    records = json.loads((golden / "data/train.json").read_text())[:3]
    del records[1]["landmark"]
    del records[2]["landmark"], records[2]["image"]
    records[2]["conversations"][0]["value"] = "What is AU4?"
    (tmp_path / "mixed.json").write_text(json.dumps(records))
    module = make(tmp_path / "mixed.json")
    batch = module["data_collator"]([module["train_dataset"][i] for i in range(3)])
    assert batch["facial_priors"].shape == (3, 212) and batch["images"].shape[0] == 3
    assert batch["facial_priors"][0].any() and not batch["facial_priors"][1:].any()


def test_a_store_gives_the_same_priors_as_the_files(make, golden, tmp_path):
    from llava_faba.priors.writer import PriorStoreWriter, Row

    records = json.loads((golden / "data/train.json").read_text())
    with PriorStoreWriter(
        tmp_path / "store", expert="precomputed", version="1", settings={"size": 212}, size=212
    ) as writer:
        writer.append(
            Row(r["image"], np.load(golden / "data" / r["landmark"]).reshape(-1), "found", (56, 56)) for r in records
        )
    files, store = make()["train_dataset"], make(facial_prior_store=str(tmp_path / "store"))["train_dataset"]
    assert np.array_equal(files.all_priors(), store.all_priors())


def test_broken_json_names_the_line(make, tmp_path):
    (tmp_path / "broken.json").write_text('[\n{"id": 1},\n{"id" 2}\n]')
    with pytest.raises(RecordError, match=r"broken.json, line 3"):
        make(tmp_path / "broken.json")
