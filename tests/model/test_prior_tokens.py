"""More than one token of a prior: what the modules compute, and that every door knows how many there are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from llava.mm_utils import process_images
from llava.model import builder
from PIL import Image
from support import IMAGE_TOKEN, edit_config
from tiny import make_emola, make_faces

import llava_faba
from llava_faba.cli.main import main
from llava_faba.conversion.to_transformers import to_transformers
from llava_faba.data.lengths import picture_positions
from llava_faba.emola.tokens import BRANCH, PriorAttention, RegionTokens, nearness, patch_centres, region_centres
from llava_faba.errors import CheckpointError, ExpertError, UserError
from llava_faba.experts import Picture, create_expert, part_classes
from llava_faba.experts.base import LandmarkExpert
from llava_faba.experts.dlib68 import Dlib68Expert
from llava_faba.experts.regions import MESH_478, POINTS_68, POINTS_106, expert_regions, face_regions
from llava_faba.inference.answer import answer_batch
from llava_faba.model.prior_origin import PriorOrigin
from llava_faba.model.reference_format import export_checkpoint
from llava_faba.vetting.families import check_whole, model_config

HIDDEN, SIDE = 32, 6
REGIONS = face_regions(["dlib-68"], [Dlib68Expert], [136])
KINDS = {"regions": 9, "regions+global": 10, "cross_attention": 0, "guided_cross_attention": 0}


def _priors(count: int = 3) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(count, 136) * 1.6 - 0.8


def _attention() -> PriorAttention:
    torch.manual_seed(1)
    return PriorAttention(REGIONS, HIDDEN).eval()


# What the modules compute, against a second writing of Face-LLaVA's description.


def test_each_region_has_its_own_linear_layer() -> None:
    """Nine slices of the 68 points, x and y interleaved, flattened."""
    tokens, priors = RegionTokens(REGIONS, HIDDEN), _priors()
    slices = [(0, 17), (17, 22), (22, 27), (27, 31), (31, 36), (36, 42), (42, 48), (48, 60), (60, 68)]
    points = priors.view(-1, 68, 2)
    for number, (name, (start, end)) in enumerate(zip(POINTS_68, slices, strict=True)):
        layer = getattr(tokens, f"region_{name}")
        assert torch.allclose(tokens(priors)[:, number], layer(points[:, start:end].flatten(1)), atol=1e-6)


def test_cross_attention_is_torchs_multihead_attention_with_a_scaled_residual() -> None:
    module, priors, pictures = _attention(), _priors(), torch.randn(3, SIDE * SIDE, HIDDEN)
    known = torch.nn.MultiheadAttention(HIDDEN, 8, batch_first=True)
    with torch.no_grad():
        known.in_proj_weight.copy_(torch.cat([module.query.weight, module.key.weight, module.value.weight]))
        known.in_proj_bias.copy_(torch.cat([module.query.bias, module.key.bias, module.value.bias]))
        known.out_proj.weight.copy_(module.attended.weight)
        known.out_proj.bias.copy_(module.attended.bias)
        regions = module.tokens(priors)
        attended = known(pictures, regions, regions)[0]
        expected = pictures + 0.1 * module.branch(module.norm(pictures + attended))
        assert BRANCH == 0.1
        assert torch.allclose(module(pictures, priors, torch.ones(3, dtype=torch.bool)), expected, atol=1e-5)


def test_the_guided_scores_are_softmaxes_of_negative_distances_added_before_the_softmax() -> None:
    module, priors, pictures = _attention(), _priors(1), torch.randn(1, SIDE * SIDE, HIDDEN)
    near = nearness(_config("guided_cross_attention"), priors, SIDE * SIDE)
    assert near is not None
    with torch.no_grad():
        q, k, v = (
            module.query(pictures[0]),
            module.key(module.tokens(priors)[0]),
            module.value(module.tokens(priors)[0]),
        )
        heads = []
        for head in range(8):
            part = slice(head * 4, head * 4 + 4)
            scores = q[:, part] @ k[:, part].T / 2 + near[0]
            heads.append(torch.softmax(scores, dim=1) @ v[:, part])
        attended = module.attended(torch.cat(heads, dim=1))
        expected = pictures + 0.1 * module.branch(module.norm(pictures[0] + attended))
        assert torch.allclose(module(pictures, priors, torch.tensor([True]), near), expected, atol=1e-5)


def _config(kind: str, **more: Any) -> Any:
    return SimpleNamespace(facial_prior_tokens=kind, facial_prior_regions=REGIONS, hidden_size=HIDDEN, **more)


def test_x_is_a_patchs_column_and_y_its_row() -> None:
    """A face whose parts lie right of the middle and high up: with the axes exchanged it would be low and left."""
    priors = torch.zeros(1, 136)
    priors[:, 0::2], priors[:, 1::2] = 0.9, -0.9  # all points right at the top, but the nose's
    for column in REGIONS[3]["columns"]:
        priors[:, column] = 0.9 if column % 2 else 0.0  # in the middle at the bottom
    near = nearness(_config("guided_cross_attention"), priors, SIDE * SIDE)
    assert near is not None and torch.allclose(near.sum(-1), torch.ones(1, SIDE * SIDE))
    grid = near[0, :, 3].view(SIDE, SIDE)  # rows, columns
    assert grid[0, -1] == grid.min() and grid[-1].min() > grid[0].max()
    by_hand = torch.empty(SIDE, SIDE)
    for row in range(SIDE):
        for column in range(SIDE):
            x, y = (column + 0.5) / SIDE, (row + 0.5) / SIDE
            far = [((x - cx) ** 2 + (y - cy) ** 2) ** 0.5 for cx, cy in region_centres(REGIONS, priors)[0].tolist()]
            by_hand[row, column] = torch.softmax(-torch.tensor(far), 0)[3]
    assert torch.allclose(grid, by_hand, atol=1e-6)


@pytest.mark.parametrize("size", [(200, 100), (100, 200), (101, 64)])
def test_centres_are_those_of_the_picture_padded_to_a_square(size: tuple[int, int]) -> None:
    """The picture as LLaVA pads it, with one bright patch: a region there is nearest to that patch's centre."""
    from llava.mm_utils import expand2square

    width, height = size
    spot = (width * 0.8, height * 0.3)
    picture = Image.new("RGB", size)
    picture.putpixel((int(spot[0]), int(spot[1])), (255, 255, 255))
    square = np.asarray(expand2square(picture, (0, 0, 0)))[..., 0]
    row, column = np.argwhere(square == 255)[0]
    prior = Dlib68Expert.features(_points_only(), np.tile(spot, (1, 68, 1)), np.array([size]))
    centre = region_centres(REGIONS, torch.from_numpy(prior))[0, 0]
    expected = torch.tensor([(column + 0.5) / len(square), (row + 0.5) / len(square)])
    assert torch.allclose(centre, expected.float(), atol=1.0 / len(square))


def _points_only() -> Any:
    expert = Dlib68Expert.__new__(Dlib68Expert)
    LandmarkExpert.__init__(expert)
    return expert


def test_patches_are_in_the_towers_order() -> None:
    centres = patch_centres(3)
    assert torch.allclose(centres[1], torch.tensor([0.5, 1 / 6])) and torch.allclose(
        centres[3], torch.tensor([1 / 6, 0.5])
    )


def test_a_class_token_is_as_near_to_every_region() -> None:
    near = nearness(_config("guided_cross_attention", mm_vision_select_feature="cls_patch"), _priors(1), 37)
    assert near is not None and torch.allclose(near[0, 0], torch.full((9,), 1 / 9))
    with pytest.raises(UserError, match="one square of patches"):
        nearness(_config("guided_cross_attention"), _priors(1), 37)


def test_a_picture_without_a_face_stays_as_it_is() -> None:
    pictures, found = torch.randn(2, 36, HIDDEN), torch.tensor([False, True])
    changed = _attention()(pictures, torch.zeros(2, 136), found)
    assert torch.equal(changed[0], pictures[0]) and not torch.equal(changed[1], pictures[1])


# The regions of the layouts.


@pytest.mark.parametrize(("layout", "points"), [(POINTS_68, 68), (POINTS_106, 106), (MESH_478, 478)])
def test_layouts_have_the_nine_regions_apart(layout: Any, points: int) -> None:
    assert list(layout) == list(POINTS_68)
    used = [point for part in layout.values() for point in part]
    assert len(set(used)) == len(used) and min(used) >= 0 and max(used) < points
    assert points == 478 or len(used) == points


def test_the_meshs_regions_lie_where_the_68_points_have_them(astronaut: Any) -> None:
    pytest.importorskip("ai_edge_litert")
    pixels = np.asarray(astronaut)
    try:
        mesh = create_expert("mediapipe-478").extract([Picture.whole(pixels)]).landmarks[0]
    except ExpertError as error:
        pytest.skip(str(error))
    points = create_expert("dlib-68").extract([Picture.whole(pixels)]).landmarks[0]
    assert mesh is not None and points is not None
    size = float(np.ptp(points[:, 0]))
    for name in POINTS_68:
        if name == "face":  # the mesh goes round the forehead as well
            continue
        apart = points[list(POINTS_68[name])].mean(axis=0) - mesh[list(MESH_478[name])].mean(axis=0)
        assert np.linalg.norm(apart) < 0.08 * size, name


def test_several_experts_have_their_own_regions_and_one_without_any_is_one() -> None:
    names = ["dlib-68", "blendshapes-52"]
    regions = face_regions(names, part_classes("+".join(names)), [136, 52])
    assert [region["name"] for region in regions] == [*(f"dlib_68_{name}" for name in POINTS_68), "blendshapes_52"]
    assert regions[-1]["columns"] == list(range(136, 188)) and regions[-1]["dimensions"] == 0
    each = expert_regions(names, part_classes("+".join(names)), [136, 52])
    assert [len(region["columns"]) for region in each] == [136, 52]
    swapped = face_regions(names[::-1], part_classes("+".join(names[::-1])), [52, 136])
    assert swapped[1]["columns"][0] == 52


def test_an_expert_without_regions_is_refused() -> None:
    with pytest.raises(ExpertError, match="no regions of a face"):
        face_regions(["blendshapes-52"], part_classes("blendshapes-52"), [52])
    with pytest.raises(ExpertError, match="is one expert"):
        expert_regions(["dlib-68"], [Dlib68Expert], [136])


# Models.


@pytest.fixture(scope="module", params=list(KINDS))
def adapter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param.replace("+", "-"))
    return make_emola(folder, facial_prior_tokens=request.param, facial_prior_regions=REGIONS)


@pytest.fixture(scope="module")
def loaded(adapter: Path) -> Any:
    return llava_faba.load_model(adapter)


def _logits(model: Any, processor: Any, priors: torch.Tensor | None, count: int = 2) -> torch.Tensor:
    pictures = [Image.fromarray(np.full((50, 80, 3), 40 * (row + 1), np.uint8)) for row in range(count)]
    images = process_images(pictures, processor, model.config).to(model.dtype)
    ids = torch.tensor([[1, 5, IMAGE_TOKEN, 6, 7]]).repeat(count, 1)
    with torch.no_grad():
        return model(input_ids=ids, images=images, facial_priors=priors).logits.float()


def test_the_tokens_are_as_many_as_the_limits_count(loaded: Any) -> None:
    kind = loaded.model.config.facial_prior_tokens
    logits = _logits(loaded.model, loaded.image_processor, _priors(2))
    assert logits.shape[1] == 4 + picture_positions(loaded.model) == 4 + 36 + KINDS[kind]
    assert loaded.model.encode_facial_priors(_priors(2)).shape == (2, KINDS[kind], 64)


def test_the_prior_matters_and_a_row_does_not_depend_on_its_neighbour(loaded: Any) -> None:
    priors = torch.cat([_priors(1), torch.zeros(1, 136)])
    both = _logits(loaded.model, loaded.image_processor, priors)
    other = _logits(loaded.model, loaded.image_processor, priors.flip(0))
    alone = _logits(loaded.model, loaded.image_processor, priors[:1], 1)
    assert torch.allclose(both[:1], alone, atol=1e-4) and not torch.allclose(both, other, atol=1e-3)


def test_llavas_builder_loads_the_same(adapter: Path, loaded: Any, registered: None) -> None:
    model = builder.load_pretrained_model(str(adapter), str(adapter.parent / "base"), adapter.name, device="cpu")[1]
    ours = {name: value.half() for name, value in loaded.model.state_dict().items() if "landmark_feature" in name}
    theirs = model.state_dict()
    assert ours and all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_merged_it_is_the_same_model(adapter: Path, loaded: Any, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    assert main(["checkpoint", "merge", "--model-path", str(adapter), "--out", str(out), "--dtype", "float32"]) == 0
    merged = llava_faba.load_model(out)
    assert merged.model.config.facial_prior_regions == REGIONS
    priors = _priors(2)
    assert torch.allclose(
        _logits(merged.model, merged.image_processor, priors), _logits(loaded.model, loaded.image_processor, priors),
        atol=1e-3,
    )  # fmt: skip


def test_a_batch_of_rows_with_and_without_a_face_answers_as_each_alone(loaded: Any, tmp_path: Path) -> None:
    names = make_faces(tmp_path, 2)
    pictures = [Image.open(tmp_path / name) for name in names]
    images = process_images(pictures, loaded.image_processor, loaded.model.config)
    found = loaded.model.compute_facial_priors(images, [one.size for one in pictures])
    assert found.features.any(axis=1).all()
    priors = torch.from_numpy(found.features)
    priors[1] = 0
    asked = ["Which lips?", "What AUs are conveyed by this face?"]
    both = answer_batch(loaded, images, asked, priors, max_new_tokens=8)
    alone = [
        answer_batch(loaded, images[row : row + 1], asked[row : row + 1], priors[row : row + 1], max_new_tokens=8)[0]
        for row in range(2)
    ]
    assert both == alone


def test_what_has_no_place_for_it_refuses_by_name(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"one token for a prior.*--facial_prior_tokens"):
        export_checkpoint(adapter, tmp_path / "reference")
    with pytest.raises(CheckpointError, match="facial_prior_tokens is"):
        to_transformers(adapter, tmp_path / "native")


def test_read_as_one_token_it_is_refused(adapter: Path, tmp_path: Path) -> None:
    """As a reader that leaves keys out which it does not know: it must not draw a projector at random."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(adapter, copy)
    edit_config(copy, remove=("facial_prior_tokens", "facial_prior_regions"))
    with pytest.raises(CheckpointError, match=r"prior projector's weights do not fit config\.json"):
        llava_faba.load_model(copy, adapter.parent / "base")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"facial_prior_tokens": "global"}, "names 9 regions"),
        ({"facial_prior_regions": []}, "names 0 regions"),
        ({"facial_prior_regions": [*REGIONS, REGIONS[0]]}, "one name"),
        ({"facial_prior_regions": [{**REGIONS[0], "columns": [136, 137]}]}, "does not have"),
        ({"facial_prior_regions": [{**REGIONS[0], "columns": [0, 1, 2]}]}, "does not have"),
        ({"facial_prior_regions": [{**REGIONS[0], "name": "__class__"}]}, "facial_prior_regions must be"),
        ({"facial_prior_regions": [{**REGIONS[0], "columns": [-1, 3]}]}, "facial_prior_regions must be"),
        ({"facial_prior_tokens": "two"}, "facial_prior_tokens must be"),
        ({"image_aspect_ratio": None}, "image_aspect_ratio must be 'pad'"),
        ({"image_aspect_ratio": "anyres"}, "image_aspect_ratio must be 'pad'"),
        ({"facial_prior_regions": [{**REGIONS[0], "dimensions": 0}]}, "no place in the picture"),
        ({"hidden_size": 36}, "heads do not share 36"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(changes: Any, words: str, tmp_path: Path) -> None:
    values = {**_GUIDED, **changes}
    with pytest.raises(CheckpointError, match=words):
        check_whole(model_config(values, tmp_path), tmp_path)


_GUIDED: dict[str, Any] = {
    "model_type": "emollava",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 400,
    "mm_hidden_size": 32,
    "mm_projector_type": "mlp2x_gelu",
    "mm_use_im_start_end": False,
    "mm_use_im_patch_token": False,
    "image_aspect_ratio": "pad",
    "landmark_feature_hidden_size": 136,
    "facial_prior_expert": "dlib-68",
    "facial_prior_tokens": "guided_cross_attention",
    "facial_prior_regions": REGIONS,
}


def test_a_base_goes_on_with_its_own_tokens_only() -> None:
    origin = PriorOrigin.of(json.loads(json.dumps(_GUIDED)), "the base")
    assert origin is not None
    origin.check_tokens("guided_cross_attention", REGIONS)
    for kind, regions, words in (
        ("cross_attention", REGIONS, "not cross_attention"),
        (None, None, "not global"),
        ("guided_cross_attention", REGIONS[:-1], "other regions"),
    ):
        with pytest.raises(UserError, match=words):
            origin.check_tokens(kind, regions)
