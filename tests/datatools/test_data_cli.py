"""``llava-faba data`` as a user runs it: a process of its own, exit codes, what it prints and writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

KEY = "sk-cli-secret-987"


def run(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llava_faba.cli", "data", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "tree", "folds"),
    [
        ("rafdb", "rafdb_tree", False),
        ("affectnet", "affectnet_cropped", False),
        ("bp4d", "bp4d_master", True),
        ("disfa", "disfa_tree", True),
        ("gft", "gft_tree", False),
        ("emotionet", "emotionet_tree", False),
    ],
)
def test_convert_writes_the_files_of_every_dataset(
    name: str, tree: str, folds: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    root = request.getfixturevalue(tree)
    result = run("convert", name, "--root", root, "--out", tmp_path / "out", "--vary-answers", "--seed", 3)
    assert result.returncode == 0, result.stderr
    task = "emotion" if name in ("rafdb", "affectnet") else "au"
    for fold in ("fold1", "fold2", "fold3") if folds else ("",):
        for kind in ("train", "eval"):
            assert json.loads((tmp_path / "out" / fold / f"{kind}_{task}_anno.json").read_text())
    assert "evaluation records" in result.stdout


def test_convert_of_a_foreign_folder_exits_with_two_and_names_what_is_missing(tmp_path: Path) -> None:
    result = run("convert", "bp4d", "--root", tmp_path, "--out", tmp_path / "out")
    assert result.returncode == 2
    assert "AUCoding/AU_OCC" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_validate_exit_codes_and_json(rafdb_tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("convert", "rafdb", "--root", rafdb_tree, "--out", out)
    files = [out / "train_emotion_anno.json", out / "eval_emotion_anno.json"]
    good = run("validate", *files, "--image-folder", rafdb_tree, "--workers", 2)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "18 records, 18 images: 0 errors, 0 warnings" in good.stdout
    image = rafdb_tree / "basic" / "Image" / "aligned" / "train_00002_aligned.jpg"
    image.write_bytes(image.read_bytes()[:50])
    bad = run("validate", *files, "--image-folder", rafdb_tree, "--json", tmp_path / "report.json")
    assert bad.returncode == 1
    assert "error image-unreadable: 1 x" in bad.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert [(group["kind"], group["count"]) for group in report["groups"]] == [("image-unreadable", 1)]
    piped = run("validate", *files, "--image-folder", rafdb_tree, "--json", "-")
    assert json.loads(piped.stdout)["errors"] == 1
    assert run("validate", *files).returncode == 2
    assert run("validate", *files, "--no-images").returncode == 0


def test_mix_and_repeat(rafdb_tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("convert", "rafdb", "--root", rafdb_tree, "--out", out)
    train = out / "train_emotion_anno.json"
    first = run("mix", "--input", f"{train},weight=2,prefix=raf", "--val-fraction", 0.3, "--out", tmp_path / "one")
    assert first.returncode == 0, first.stderr
    again = run("mix", "--repeat", tmp_path / "one" / "manifest.json", "--out", tmp_path / "two")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "one" / "train.json").read_bytes() == (tmp_path / "two" / "train.json").read_bytes()
    wrong = run("mix", "--input", f"{train},wieght=2", "--out", tmp_path / "three")
    assert wrong.returncode == 2
    assert "Did you mean 'weight'" in wrong.stderr


def test_stats_prints_a_table_and_draws(gft_tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("convert", "gft", "--root", gft_tree, "--out", out)
    files = [out / "train_au_anno.json", out / "eval_au_anno.json"]
    result = run("stats", *files, "--plots", tmp_path / "plots", "--json", tmp_path / "stats.json")
    assert result.returncode == 0, result.stderr
    assert "words per answer, mean" in result.stdout
    assert json.loads((tmp_path / "stats.json").read_text())[0]["aus"] == {"6": 2, "12": 2, "18": 2}
    assert len(list((tmp_path / "plots").glob("*.png"))) == 6


class _Handler(BaseHTTPRequestHandler):
    requests = 0

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).requests += 1
        if type(self).requests % 3 == 1:
            self.send_error(500, "broken", self.headers["Authorization"])
            return
        text = "The face shows happiness. The cheeks are lifted and the mouth smiles widely."
        body = json.dumps(
            {
                "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 20},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def api() -> Iterator[str]:
    _Handler.requests = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def test_annotate_from_estimate_to_review(api: str, rafdb_tree: Path, tmp_path: Path) -> None:
    images = rafdb_tree / "basic" / "Image" / "aligned"
    base = ["annotate", "--task", "emotion", "--images", images, "--out", tmp_path / "ann", "--base-url", api]
    base += ["--model", "m", "--limit", "5", "--first-pause", "0.01"]
    prices = ["--price-input", "10", "--price-output", "30"]
    dry = run(*base, *prices, "--dry-run", OPENAI_API_KEY=KEY)
    assert dry.returncode == 0, dry.stderr
    assert "5 requests" in dry.stdout
    assert "cost: about" in dry.stdout
    assert _Handler.requests == 0
    unasked = run(*base, OPENAI_API_KEY=KEY)
    assert unasked.returncode == 2
    assert "--yes" in unasked.stderr
    done = run(*base, *prices, "--yes", OPENAI_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert "5 answered, 0 there already, 0 failed" in done.stdout
    assert "5 accepted, 0 rejected" in done.stdout
    assert (tmp_path / "ann" / "review" / "page-001.html").is_file()
    count = _Handler.requests
    again = run(*base, "--yes", OPENAI_API_KEY=KEY)
    assert "0 answered, 5 there already" in again.stdout
    assert _Handler.requests == count
    sorted_again = run(*base, "--sort-only", "--min-words", "50")
    assert "0 accepted, 5 rejected" in sorted_again.stdout
    for result in (dry, unasked, done, again):
        assert KEY not in result.stdout + result.stderr
    for path in (tmp_path / "ann").rglob("*"):
        assert not path.is_file() or KEY not in path.read_text(errors="replace")


def test_annotate_without_a_key_says_which_variable(rafdb_tree: Path, tmp_path: Path) -> None:
    result = run(
        "annotate",
        *("--task", "au", "--images", rafdb_tree, "--out", tmp_path / "ann", "--model", "m", "--yes"),
        *("--base-url", "https://example.invalid/v1", "--api-key-env", "NO_SUCH_KEY"),
    )
    assert result.returncode == 2
    assert "NO_SUCH_KEY" in result.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from llava_faba.cli.main import build_parser\n"
        "build_parser().format_help()\n"
        "print(sorted(set(sys.modules) & {'torch', 'numpy', 'PIL', 'transformers', 'matplotlib', "
        "'jsonschema'}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["convert", "validate", "stats", "annotate", "mix"])
def test_every_command_has_help_and_usage_errors(command: str) -> None:
    assert "usage" in run(command, "--help").stdout
    assert run(command, "--no-such-flag").returncode == 2
