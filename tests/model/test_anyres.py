"""EmoLA as LLaVA-1.6 works: anyres crops of pictures of any shape, merged without their padding (spatial_unpad)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ImageOps
from support import IMAGE_TOKEN, edit_config, llava_faba_command

import llava_faba
from llava_faba.experts import Picture, PriorStatus, create_expert
from llava_faba.inference.answer import answer_batch, generate_batch, preprocess

QUESTION = "What AUs are conveyed by this face?"
TOKENS = 8


@pytest.fixture(scope="module")
def anyres_model(face_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model of the other tests with LLaVA-1.6's settings, and the newline embedding that they need."""
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(face_model, tmp_path_factory.mktemp("anyres") / face_model.name))
    edit_config(
        folder,
        image_aspect_ratio="anyres",
        image_grid_pinpoints=[[480, 240], [240, 480], [480, 480]],
        mm_patch_merge_type="spatial_unpad",
    )
    weights = load_file(folder / "model.safetensors")
    hidden = json.loads((folder / "config.json").read_text())["hidden_size"]
    weights["model.image_newline"] = torch.randn(hidden, generator=torch.Generator().manual_seed(1))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def loaded(anyres_model: Path) -> Any:
    return llava_faba.load_model(anyres_model)


@pytest.fixture(scope="module")
def pictures(astronaut: Any) -> list[Any]:
    """A square, a wide, a tall and a large picture of a face: two, two, two and four crops beside the whole."""
    return [
        astronaut,
        ImageOps.expand(astronaut, (90, 0), (90, 90, 90)),
        ImageOps.expand(astronaut, (0, 70), (90, 90, 90)),
        astronaut.resize((480, 440)),
    ]


def priors_of(pictures: list[Any]) -> np.ndarray:
    return create_expert("dlib-68").extract([Picture.whole(np.asarray(picture)) for picture in pictures]).features


def sizes(pictures: list[Any]) -> list[tuple[int, int]]:
    return [picture.size for picture in pictures]


def test_the_models_own_priors_are_the_stored_ones_for_every_shape(loaded, pictures):
    """Read from the first crop, the whole picture squeezed into a square, with the squeezing undone."""
    images = preprocess(pictures, loaded[2], loaded[1])
    assert isinstance(images, list) and {len(image) for image in images} == {3, 5}
    found = loaded[1].compute_facial_priors(images, sizes(pictures))
    assert found.statuses == [PriorStatus.FOUND] * 4
    for feature, stored in zip(found.features, priors_of(pictures), strict=True):
        face = float(np.ptp(stored.reshape(-1, 2), axis=0).max())
        assert np.abs(feature - stored).max() < 0.06 * face
        assert np.abs(feature - stored).mean() < 0.02 * face


@pytest.mark.parametrize(
    "merge_type",
    [pytest.param("flat", marks=pytest.mark.slow), pytest.param("spatial", marks=pytest.mark.slow), "spatial_unpad"],
)
def test_pictures_of_several_shapes_are_answered_in_one_batch_as_alone(loaded, pictures, merge_type, monkeypatch):
    model = loaded[1]
    monkeypatch.setattr(model.config, "mm_patch_merge_type", merge_type)
    images, priors = preprocess(pictures, loaded[2], model), torch.from_numpy(priors_of(pictures))
    questions = [QUESTION, "Which lips?", "And why are the brows raised?", QUESTION]

    def ask(rows: list[int], images: Any, priors: torch.Tensor) -> tuple[list[str], torch.Tensor]:
        """Answers, and the logits of each one's first token."""
        answers, logits = generate_batch(
            loaded,
            images,
            [questions[row] for row in rows],
            priors,
            image_sizes=[pictures[row].size for row in rows],
            max_new_tokens=TOKENS,
            with_logits=True,
        )
        assert logits is not None
        return [answer.text for answer in answers], logits[0]

    answers, logits = ask([0, 1, 2, 3], images, priors)
    for row in range(4):
        # Of one picture LLaVA makes a 5-D tensor.
        text, alone = ask([row], images[row][None], priors[row : row + 1])
        assert text == [answers[row]] and torch.allclose(alone[0], logits[row], atol=1e-4)
        _, other = ask([row], images[row][None], torch.zeros(1, 136))
        assert not torch.allclose(other[0], logits[row], atol=1e-3)


def test_pictures_of_one_shape_come_as_one_tensor_and_answer_as_a_list_does(loaded, astronaut):
    pictures = [astronaut, ImageOps.mirror(astronaut)]
    images, priors = preprocess(pictures, loaded[2], loaded[1]), torch.from_numpy(priors_of(pictures))
    assert isinstance(images, torch.Tensor) and images.ndim == 5
    options = {"image_sizes": sizes(pictures), "max_new_tokens": TOKENS}
    answers = answer_batch(loaded, images, [QUESTION] * 2, priors, **options)
    assert answers == answer_batch(loaded, list(images), [QUESTION] * 2, priors, **options)
    assert answers[0] != answers[1]


def test_training_reaches_both_projectors_and_the_newline(anyres_model, pictures):
    """Forward and backward with labels, over pictures of several shapes, one row without a face and one without
    a picture."""
    _, model, processor, _ = llava_faba.load_model(anyres_model)
    model.train()
    parts = {
        name: parameter
        for name, parameter in model.named_parameters()
        if "projector" in name or name.endswith("image_newline")
    }
    for parameter in parts.values():
        parameter.requires_grad_(True)
    images = preprocess(pictures[:3], processor, model)
    priors = torch.from_numpy(priors_of(pictures[:3]))
    priors[2] = 0
    ids = torch.tensor([[1, IMAGE_TOKEN, 6, 7, 8]] * 2 + [[1, 5, 6, 7, 8]])
    labels = ids.clone()
    labels[labels == IMAGE_TOKEN] = -100
    loss = model(
        input_ids=ids,
        labels=labels,
        attention_mask=torch.ones_like(ids, dtype=torch.bool),
        images=images,
        image_sizes=sizes(pictures[:3]),
        facial_priors=priors,
    ).loss
    loss.backward()
    assert loss.isfinite()
    for name, parameter in parts.items():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


@pytest.mark.slow
@pytest.mark.parametrize("which", [1, 2, 3], ids=["wide", "tall", "large"])
def test_llavas_command_line_answers_as_model_generate(anyres_model, pictures, tmp_path, which, registered):
    from llava.mm_utils import process_images, tokenizer_image_token
    from llava.model.builder import load_pretrained_model

    pictures[which].save(tmp_path / "face.png")
    result = llava_faba_command(
        *("run", "llava.serve.cli", "--model-path", str(anyres_model), "--image-file", str(tmp_path / "face.png")),
        *("--device", "cpu", "--temperature", "0", "--max-new-tokens", str(TOKENS)),
        stdin=f"{QUESTION}\n\n",
    )
    assert result.returncode == 0, result.stderr[-3000:]
    tokenizer, model, processor, _ = load_pretrained_model(str(anyres_model), None, anyres_model.name, device="cpu")
    images = process_images([pictures[which]], processor, model.config)
    prior = model.compute_facial_priors(images, [pictures[which].size]).features
    from llava.conversation import conv_templates

    conversation = conv_templates["llava_v1"].copy()
    conversation.append_message("USER", f"<image>\n{QUESTION}")
    conversation.append_message("ASSISTANT", None)
    output = model.generate(
        tokenizer_image_token(conversation.get_prompt(), tokenizer, IMAGE_TOKEN, return_tensors="pt")[None],
        images=images.half(),
        image_sizes=[pictures[which].size],
        facial_priors=torch.from_numpy(prior),
        do_sample=False,
        max_new_tokens=TOKENS,
    )
    said = result.stdout.split("ASSISTANT: ")[1].rsplit("USER:", 1)[0].strip()
    assert said == tokenizer.decode(output[0], skip_special_tokens=True).strip()


@pytest.mark.slow
def test_model_vqa_and_the_fast_path_take_a_test_set_of_several_shapes(anyres_model, pictures, tmp_path):
    from llava_faba.inference.answering import Answerer
    from llava_faba.inference.settings import GenerateSettings

    questions = [
        {"question_id": f"q{number}", "image": f"{number}.png", "text": QUESTION} for number in range(len(pictures))
    ]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    file, answers = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(question) + "\n" for question in questions))
    run = llava_faba_command(
        *("run", "--device", "cpu", "llava.eval.model_vqa", "--model-path", str(anyres_model), "--temperature", "0"),
        *("--question-file", str(file), "--image-folder", str(tmp_path), "--answers-file", str(answers)),
        *("--conv-mode", "llava_v1"),
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    theirs = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [answer["question_id"] for answer in theirs] == ["q0", "q1", "q2", "q3"]
    # model_vqa hard-codes 1,024 new tokens, and on a CPU a tower in float32: the answers part somewhere, not at once.
    settings = GenerateSettings(max_new_tokens=TOKENS, dtype="float16")
    ours = list(Answerer(str(anyres_model), None, tmp_path, settings).answer_all(iter([[one] for one in questions])))
    assert [result.question_id for result in ours] == ["q0", "q1", "q2", "q3"]
    for answer, result in zip(theirs, ours, strict=True):
        assert result.text and answer["text"].startswith(result.text.rstrip("\N{REPLACEMENT CHARACTER}"))
