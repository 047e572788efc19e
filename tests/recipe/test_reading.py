"""A recipe's file: every mistake is a sentence that names its place, and nothing of it is code."""

from __future__ import annotations

import pytest

from llava_faba.recipe.errors import RecipeError
from llava_faba.recipe.expansion import expand
from llava_faba.recipe.reading import find, library, read
from llava_faba.settings.yamlfile import load_yaml

STEP = "  a: {kind: write, text: x}\n"
MISTAKES = {
    "no format": ("steps:\n" + STEP, "'recipe' is None"),
    "another format": ("recipe: 2\nsteps:\n" + STEP, "'recipe' is 2"),
    "no steps": ("recipe: 1\nsteps: {}\n", "'steps' is empty"),
    "a list": ("- recipe: 1\n", "a recipe is not a mapping"),
    "unknown key": ("recipe: 1\nstep:\n" + STEP, "no key 'step'.*Did you mean 'steps'"),
    "a key twice": ("recipe: 1\nsteps:\n" + STEP + STEP, "key 'a' twice"),
    "code": ("recipe: 1\nsteps:\n  a: !!python/object/apply:os.system [ls]\n", "not YAML"),
    "aliases": ("recipe: 1\ntitle: &t x\nnote: *t\nsteps:\n" + STEP, "aliases are not taken"),
    "an axis that is none": ("recipe: 1\nsteps:\n  a: {kind: write, over: fold}\n", "steps.a.over"),
    "a value twice on an axis": ("recipe: 1\nmatrix: {seed: [1, 1]}\nsteps:\n" + STEP, "matrix.seed"),
    "a name that is a path": ("recipe: 1\nsteps:\n  ../a: {kind: write}\n", "is not a name"),
    "a result elsewhere": ("recipe: 1\nresults: {../x: y}\nsteps:\n" + STEP, "not a plain file name"),
    "set without like": ("recipe: 1\nset: {a.text: y}\nsteps:\n" + STEP, "there is no 'like'"),
    "like a later step": ("recipe: 1\nsteps:\n  a: {like: b}\n  b: {kind: write}\n", "name a step before it"),
    "broken": ("recipe: [1\n", "not YAML"),
    # What PyYAML's safe loader ends in a traceback for.
    "a tag on a text": ("recipe: !!map foo\n", "not YAML: 'foo' is no map"),
    "a tag on nothing": ("recipe: !!float ''\n", "'' is no float"),
    "no truth value": ("recipe: !!bool foo\n", "'foo' is no bool"),
    "a time": ("recipe: !!timestamp foo\n", "'timestamp' is none of"),
    "bytes": ("recipe: !!binary x\n", "'binary' is none of"),
    "digits": ("recipe: " + "9" * 6000 + "\n", "a number of 6000 digits"),
    "a list as key": ("? [1, 2]\n: 3\n", "a key that is a list"),
    "nested": ("- " * 80 + "1", "nested too deeply"),
    "no or false": ("recipe: no\n", "no is a truth value or a text"),
    "long": ("recipe: 1 #" + "x" * 300_000, "more than the limit"),
    "a place above": ("recipe: 1\nmatrix: {seed: [..]}\nsteps:\n" + STEP, "matrix.seed"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_name_the_file_and_the_place(tmp_path, name):
    text, expected = MISTAKES[name]
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=rf"bad\.yaml.*{expected}"):
        read(file)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"recipe: 1\n\0", b"[" * 100_000])
def test_bytes_that_are_no_recipe_are_a_sentence(tmp_path, data):
    file = tmp_path / "bad.yaml"
    file.write_bytes(data)
    with pytest.raises(RecipeError, match=r"bad\.yaml"):
        read(file)


def test_a_pipe_and_a_device_are_not_opened():
    with pytest.raises(RecipeError, match="not a regular file"):
        find("/dev/zero")


@pytest.mark.parametrize(
    ("text", "value"),
    [("22:30", "22:30"), ("0123", 123), ("1e-4", 0.0001), ("2024-13-45", "2024-13-45"), ("<<", "<<"), ("'no'", "no")],
)
def test_values_are_what_they_look_like(tmp_path, text, value):
    """YAML 1.1 reads 1350, 83, a text, and a date that ends in a traceback."""
    file = tmp_path / "x.yaml"
    file.write_text(f"a: {text}\n")
    found = load_yaml(file, error=RecipeError)["a"]
    assert found == value and type(found) is type(value)


def test_a_recipe_of_nine_million_steps_is_refused(tmp_path):
    numbers = ", ".join(map(str, range(3000)))
    file = tmp_path / "x.yaml"
    file.write_text(
        f"recipe: 1\nmatrix: {{a: [{numbers}], b: [{numbers}]}}\nsteps: {{s: {{kind: write, text: x, over: [a, b]}}}}\n"
    )
    with pytest.raises(RecipeError, match="9000000 steps on its axes, more than 10000"):
        expand(read(file), tmp_path)


@pytest.mark.parametrize("seeds", [["0", "../x"], ["0", "0"], [".."], ["a b"]])
def test_seeds_of_the_command_line_are_as_those_of_a_file(tmp_path, seeds):
    with pytest.raises(RecipeError, match=r"matrix\.seed"):
        expand(find("demo-ablation"), tmp_path, (), {"seed": seeds})


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(RecipeError, match=r"no recipe 'rafdb'.*Did you mean 'raf-db'"):
        find("rafdb")


def test_the_library_has_the_papers_recipes():
    wanted = {"demo", "demo-tiny", "faba-bench-au", "faba-bench-emotion", "raf-db", "bp4d", "disfa", "gft"}
    assert wanted | {"prior-ablation"} <= set(library())


@pytest.mark.parametrize("name", sorted(library()))
def test_every_recipe_of_the_library_expands(tmp_path, name):
    recipe = find(name)
    graph = expand(recipe, tmp_path)
    assert recipe.title
    assert [step for step in graph.steps if step.kind_name in ("report", "demo-report")]
    given = {sentence.split()[0] for sentence in graph.missing}
    assert given == {f"inputs.{key}" for key, entry in recipe.inputs.items() if entry.default is None}


def test_a_variant_takes_all_but_what_it_sets(tmp_path):
    tiny, whole = (expand(find(name), tmp_path) for name in ("demo-tiny", "demo"))
    assert [step.id for step in tiny.steps] == [step.id for step in whole.steps]
    assert tiny.steps[0].kind.train == 48 and whole.steps[0].kind.train == 3000
