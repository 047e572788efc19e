"""References, axes, the order of steps, and what is refused before anything starts."""

from __future__ import annotations

import pytest

from llava_faba.recipe.errors import RecipeError

AXES = "matrix: {seed: [1, 2], fold: [1, 2, 3]}"
FOLDS = """
  data: {kind: write, text: d, over: fold}
  model: {kind: write, text: "${seed}", sources: ["${steps.data}/made"], over: [seed, fold]}
  score: {kind: write, sources: "${steps.model}/made", over: seed}
  table: {kind: write, sources: "${steps.score}/made"}
"""


def test_steps_fan_out_and_gather(bench):
    bench.write(FOLDS, AXES)
    steps = {step.id: step for step in bench.graph().steps}
    assert len(steps) == 3 + 6 + 2 + 1
    assert steps["model.seed2-fold3"].needs == ("data.fold3",)
    assert steps["score.seed1"].needs == tuple(f"model.seed1-fold{fold}" for fold in (1, 2, 3))
    assert steps["table"].needs == ("score.seed1", "score.seed2")


def test_axes_take_other_values(bench):
    bench.write(FOLDS, AXES)
    assert len(bench.graph(seed=["7"], fold=["1", "2"]).steps) == 2 + 2 + 1 + 1
    with pytest.raises(RecipeError, match="no axis 'person'"):
        bench.graph(person=["1"])


def test_order_follows_needs_not_the_file(bench):
    bench.write('  b: {kind: write, sources: ["${steps.a}/made"]}\n  a: {kind: write, text: x}\n')
    assert [step.id for step in bench.graph().steps] == ["a", "b"]


def test_a_path_without_a_reference_counts_as_well(bench):
    bench.write(f'  a: {{kind: write}}\n  b: {{kind: write, sources: ["{bench.root}/a/made"]}}\n')
    assert bench.graph().steps[1].needs == ("a",)


REFUSED = {
    "circle": (
        '  a: {kind: write, sources: ["${steps.b}/made"]}\n  b: {kind: write, sources: ["${steps.a}/made"]}\n',
        "in a circle",
    ),
    "itself": ('  a: {kind: write, sources: ["${steps.a}/made"]}\n', "reads what it makes"),
    "unknown reference": ('  a: {kind: write, text: "${steps.q}"}\n', r"nothing is called \$\{steps.q\}"),
    "unknown kind": ("  a: {kind: wirte}\n", "Did you mean 'write'"),
    "unknown setting": ("  a: {kind: write, txt: x}\n", "steps.a has no setting 'txt'.*Did you mean 'text'"),
    "wrong type": ("  a: {kind: write, workers: many}\n", "steps.a.workers is 'many': give a int"),
    "missing setting": ("  a: {kind: align}\n", "steps.a lacks images"),
    "leads out": ("  a: {kind: write, out: ../x}\n", "leads out of"),
    "absolute": ("  a: {kind: write, out: /tmp/x}\n", "an absolute path"),
    "own folder": ("  a: {kind: write, out: .recipe/x}\n", "the recipe's own"),
    "one folder": ("  a: {kind: write, out: x}\n  b: {kind: write, out: x/y}\n", "would write into one folder"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_before_anything_starts(bench, name):
    text, expected = REFUSED[name]
    bench.write(text)
    with pytest.raises(RecipeError, match=expected):
        bench.graph()


def test_one_is_wanted_where_many_are_named(bench):
    bench.write('  a: {kind: write, over: seed}\n  b: {kind: write, text: "${steps.a}"}\n', AXES)
    with pytest.raises(RecipeError, match="done 2 times; one is wanted"):
        bench.graph()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("a.text", "write inputs.NAME=VALUE or STEP.SETTING=VALUE"),
        ("q.text=x", "no step 'q'"),
        ("a.txt=x", "no setting 'txt'"),
        ("a.kind=align", "only settings can be changed"),
        ("inputs.q=x", "no input 'q'"),
    ],
)
def test_changes_that_name_nothing_are_refused(bench, change, expected):
    bench.write("  a: {kind: write, text: x}\n")
    with pytest.raises(RecipeError, match=expected):
        bench.graph(change)


def test_flags_of_training_are_set_by_their_name(tmp_path):
    from llava_faba.recipe.expansion import expand
    from llava_faba.recipe.reading import find

    graph = expand(find("raf-db"), tmp_path, ["train.learning_rate=5e-5", "train.expert=mediapipe-478"])
    train = next(step for step in graph.steps if step.name == "train")
    words = train.kind.actions("out")[0]["run"]
    assert words[words.index("--learning_rate") + 1] == "5e-5"
    assert words[words.index("--facial_prior_expert") + 1] == "mediapipe-478"


def test_files_that_options_and_flags_name_are_inputs_by_their_content(tmp_path):
    """Edited between two runs, each of them makes the step be done again; by name alone none of them would."""
    from llava_faba.recipe.digests import Digests
    from llava_faba.recipe.expansion import expand
    from llava_faba.recipe.reading import read
    from llava_faba.recipe.state import key_of

    for name in ("images", "base"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    for name in ("records.json", "deepspeed.json", "one.json", "two.json"):
        (tmp_path / name).write_text("[]")
    (tmp_path / "some.yaml").write_text(
        f"""recipe: 1
steps:
  t: {{kind: train, records: {tmp_path}/records.json, image_folder: {tmp_path}/images, model: {tmp_path}/base,
       deepspeed: {tmp_path}/deepspeed.json, flags: {{data_path_more: [{tmp_path}/one.json, {tmp_path}/two.json]}}}}
"""
    )
    (step,) = expand(read(tmp_path / "some.yaml"), tmp_path / "root").steps
    keys = [key_of(step, Digests(tmp_path / "none", tmp_path / "root"))]
    for name in ("deepspeed.json", "one.json", "two.json", "base/x"):
        (tmp_path / name).write_text("[1]")
        keys.append(key_of(step, Digests(tmp_path / "none", tmp_path / "root")))
    assert len(set(keys)) == 5
