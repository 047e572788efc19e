"""Each step once for what goes into it; after any interruption the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from faba_bench.files.jsonfiles import read_json

from llava_faba.recipe.errors import RecipeError
from llava_faba.recipe.planning import plan
from llava_faba.recipe.state import Folder

CHAIN = """
  a: {kind: write, text: A}
  b: {kind: write, text: B, sources: ["${steps.a}/made"]}
  c: {kind: write, text: C, sources: ["${steps.b}/made", "${inputs.file}"]}
"""
INPUT = "inputs: {file: {help: a file, default: given.txt}}"


@pytest.fixture
def chain(bench):
    bench.write(CHAIN, INPUT)
    bench.file.with_name("given.txt").write_text("!")
    return bench


def times(bench) -> list[int]:
    return [bench.times(step) for step in "abc"]


@pytest.mark.parametrize("kind", ["pipe", "folder", "deep"])
@pytest.mark.parametrize("name", ["begun/a.json", "begun/a.lock", "jobs/a.result.json", "digests.json", "done/a.json"])
def test_a_root_that_somebody_has_prepared(chain, name, kind, capfd):
    """A pipe in the place of a step's lock was waited for; others ended in a job's traceback."""
    path = chain.root / ".recipe" / name
    path.parent.mkdir(parents=True)
    os.mkfifo(path) if kind == "pipe" else path.mkdir() if kind == "folder" else path.write_text("[" * 100_000)
    signal.alarm(60)
    try:
        chain.run()
        assert chain.made("c") == "CBA!"
    except (RecipeError, OSError) as error:
        assert kind != "deep" or name == "done/a.json", error
    finally:
        signal.alarm(0)
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err


def test_every_step_is_done_once(chain):
    chain.run()
    chain.run()
    assert chain.made("c") == "CBA!"
    assert times(chain) == [1, 1, 1]


def test_a_changed_setting_does_again_what_rests_on_it(chain):
    chain.run()
    chain.run("b.text=X")
    assert chain.made("c") == "CXA!"
    assert times(chain) == [1, 2, 2]


def test_a_changed_input_of_equal_size_and_time_is_noticed(chain):
    chain.run()
    given = chain.file.with_name("given.txt")
    before = given.stat()
    given.write_text("?")
    os.utime(given, ns=(before.st_atime_ns, before.st_mtime_ns))
    chain.run()
    assert chain.made("c") == "CBA?"
    assert times(chain) == [1, 1, 2]


def test_equal_content_from_a_step_that_was_done_again_spares_the_rest(chain):
    chain.run()
    chain.run(redo=("a",))
    assert times(chain) == [2, 1, 1]


def test_a_setting_that_decides_nothing_does_nothing_again(chain):
    chain.run()
    chain.run("b.workers=8")
    assert times(chain) == [1, 1, 1]


def test_a_root_can_be_moved(chain):
    chain.run()
    chain.root = chain.root.rename(chain.root.with_name("moved"))
    chain.run()
    assert times(chain) == [1, 1, 1]


def test_what_somebody_changed_is_neither_used_nor_overwritten(chain):
    chain.run()
    (chain.root / "b" / "made").write_text("by hand")
    with pytest.raises(RecipeError, match=r"step b: .* somebody changed it.*--redo b"):
        chain.run()
    assert chain.made("b") == "by hand"
    chain.run(redo=("b",))
    assert chain.made("b") == "BA"


def test_what_somebody_removed_is_made_again(chain):
    chain.run()
    (chain.root / "b" / "made").unlink()
    (chain.root / "b").rmdir()
    chain.run()
    assert times(chain) == [1, 2, 1]


def test_a_step_that_fails_names_its_log_and_loses_nothing(chain):
    with pytest.raises(RecipeError, match=r"(?s)step b failed with exit code 3; the end of .*logs/b.log.*on fire"):
        chain.run("b.program=print('on fire'); raise SystemExit(3)")
    assert times(chain) == [1, 0, 0]
    chain.run()
    assert times(chain) == [1, 1, 1]


def test_a_step_done_by_other_code_is_said_and_not_passed_off_as_this_ones(chain, capsys, monkeypatch):
    from llava_faba.recipe import planning, running, state

    chain.run()
    assert "other code" not in capsys.readouterr().out
    assert read_json(Folder(chain.root).done(chain.graph().steps[0]))["version"] == state.code_version()
    for module in (running, planning):
        monkeypatch.setattr(module, "code_version", lambda: "9.9+another")
    chain.run()
    said = capsys.readouterr().out
    assert f"a ({state.code_version()})" in said and "(9.9+another)" in said and "--redo STEP" in said
    assert times(chain) == [1, 1, 1]
    assert all("by other code" in row["told_by"] for row in planning.plan(chain.graph()))


def test_what_an_earlier_run_left_in_a_log_is_not_told_of_this_one(chain, tmp_path):
    from llava_faba.recipe.logs import Log, marker

    log = Log(chain.root / "logs" / "b.log", "second")
    assert log.end(100) is None
    log.path.parent.mkdir(parents=True)
    log.path.write_text(f"{marker('first')}\n100%| 64/64 [00:01\n")
    assert log.end(2048) is None
    with log.path.open("a") as file:
        file.write(f"{marker('second')}\n 1/64 [00:01\n")
    assert log.end(2048) == " 1/64 [00:01\n"
    log.path.write_text(f"{marker('second')}\n")  # its folder was emptied, and the log begun anew
    assert log.end(2048) == ""


def test_a_job_that_dies_before_a_word_is_not_given_an_older_logs_end(chain):
    chain.run()
    with pytest.raises(RecipeError, match=r"step b failed with exit code 3; the end of .*b.log:\n\$ "):
        chain.run("b.program=raise SystemExit(3)")
    text = (chain.root / "logs" / "b.log").read_text()
    assert text.startswith("# started as ") and text.count("# started as ") == 1


def test_what_a_killed_run_left_for_other_settings_is_not_gone_on_from(chain):
    """Killed under way, and started again with another --set: the new settings never see the old half."""
    chain.run()
    out, begun = chain.root / "b", Folder(chain.root).begun(chain.graph().steps[1])
    Folder(chain.root).done(chain.graph().steps[1]).unlink()
    (out / "half").write_text("of the old settings")
    assert read_json(begun)["key"]
    chain.run("b.text=X")
    assert chain.made("b") == "XA" and not (out / "half").exists()


def test_a_step_that_makes_nothing_is_no_success(bench):
    bench.write("  a: {kind: write, program: pass}\n")
    with pytest.raises(RecipeError, match="ended well but made nothing"):
        bench.run()


def test_a_missing_input_is_named_before_anything_starts(chain):
    chain.file.with_name("given.txt").unlink()
    with pytest.raises(RecipeError, match=r"inputs.file: .*given.txt is not there \(a file\)"):
        chain.run()
    assert not chain.root.exists()


def test_an_input_that_changes_while_a_step_reads_it_is_no_success(chain):
    program = (
        "import sys, pathlib; p = pathlib.Path(sys.argv[4]); p.write_text('new'); pathlib.Path(sys.argv[1]).mkdir()"
    )
    with pytest.raises(RecipeError, match="step c: what goes into it was changed while it ran"):
        chain.run(f"c.program={program}")


def test_two_runs_in_one_root_do_not_mix(chain):
    from faba_bench.files.locks import exclusive

    with (
        exclusive(chain.root / ".recipe" / "lock", "a recipe"),
        pytest.raises(RecipeError, match="under way in another process"),
    ):
        chain.run()


def test_results_are_copied_to_the_top(bench):
    bench.write("  a: {kind: write, text: A}\n", "results: {report.txt: '${steps.a}/made'}")
    bench.run()
    assert (bench.root / "report.txt").read_text() == "A"


def test_steps_that_need_nothing_of_each_other_run_side_by_side(bench):
    meet = (
        "import pathlib, sys, time; o = pathlib.Path(sys.argv[1]); o.mkdir();"
        "[time.sleep(.05) for _ in range(400) if len(list(o.parent.glob('[ab]'))) < 2];"
        "(o / 'made').write_text(str(len(list(o.parent.glob('[ab]')))))"
    )
    bench.write(f'  a: {{kind: write, program: "{meet}"}}\n  b: {{kind: write, program: "{meet}"}}\n')
    bench.run(jobs=2)
    assert bench.made("a") == bench.made("b") == "2"


def test_the_plan_tells_what_is_done_and_what_waits(chain):
    assert [row["state"] for row in plan(chain.graph())] == ["to do", "waits", "waits"]
    chain.run()
    assert [row["state"] for row in plan(chain.graph())] == ["done"] * 3
    assert [row["state"] for row in plan(chain.graph("b.text=X"))] == ["done", "to do", "waits"]


_COUNTING = """
import pathlib, sys, time
out = pathlib.Path(sys.argv[1]); out.mkdir(exist_ok=True)
count = len(list(out.glob('part-*')))
for number in range(count, 6):
    (out / f'part-{number}').write_text(str(count))
    time.sleep(.3)
"""
_PROGRAM = """
import sys, pathlib
sys.path.insert(0, {tests!r})
import conftest
from llava_faba.recipe import kinds
kinds.KINDS['write'] = conftest.Write
conftest.Bench(pathlib.Path({folder!r})).run()
"""


def _started(bench):
    import pathlib

    program = _PROGRAM.format(tests=str(pathlib.Path(__file__).parent), folder=str(bench.file.parent))
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_killed_ends_its_step_and_goes_on(bench, number):
    text = _COUNTING.strip().replace("\n", "\n      ")
    bench.write(f"  a:\n    kind: write\n    program: |\n      {text}\n")
    process = _started(bench)
    while not (bench.root / "a" / "part-1").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(number)
    process.wait(30)
    bench.run()
    first = [(bench.root / "a" / f"part-{i}").read_text() for i in range(6)]
    assert first[0] == "0" and int(first[5]) >= 2, "the second run went on from what the first had left"
    assert len(set(first)) == 2, "no third process wrote"


def test_steps_handed_to_a_scheduler_leave_the_same(chain):
    from llava_faba.recipe.executors import create
    from llava_faba.recipe.running import run

    run(chain.graph(), create("submitit-local", chain.root / ".recipe" / "submitit", {"timeout_min": 5}), jobs=2)
    assert chain.made("c") == "CBA!"
    chain.run()
    assert times(chain) == [1, 1, 1]


def test_a_step_that_fails_under_a_scheduler_is_told(chain):
    from llava_faba.recipe.executors import create
    from llava_faba.recipe.running import run

    with pytest.raises(RecipeError, match=r"(?s)step b failed with exit code 3; the end of .*on fire"):
        run(
            chain.graph("b.program=print('on fire'); raise SystemExit(3)"),
            create("submitit-local", chain.root / ".recipe" / "submitit", {}),
        )


def test_what_a_scheduler_does_not_take_is_a_sentence(tmp_path):
    from llava_faba.recipe.executors import create

    with pytest.raises(RecipeError, match="submitit does not take this"):
        create("submitit-local", tmp_path, {"no_such_thing": 1})
    with pytest.raises(RecipeError, match="options of a scheduler"):
        create("processes", tmp_path, {"timeout_min": 1})
