#!/usr/bin/env python3
"""``make dist``: build sdist and wheel into dist/, check them, install both and use them away from the clone.

Runs in the environment of requirements/release.txt. What git does not know never gets in: the build starts from a copy
of the tracked files (in an unpacked sdist, of everything that it holds).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "dist"


def main() -> int:
    shutil.rmtree(OUT, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="llava-faba dist ") as folder:
        work = Path(folder)
        names = tracked()
        source = copy(names, work / "source")
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", OUT, source, quiet=True)
        sdist, wheel = next(OUT.glob("*.tar.gz")), next(OUT.glob("*.whl"))
        run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
        run(sys.executable, "-m", "check_wheel_contents", *IGNORED, wheel)
        check_sdist(sdist, names)
        check_wheel(wheel)
        for package in (wheel, sdist):
            use(package, work / package.name.replace(".", "-"))
    print("\n".join(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1e6:.2f} MB" for path in (sdist, wheel)))
    return 0


# W002: one file at several places (py.typed, DeepSpeed configs) is meant. W009: so are two packages.
IGNORED = ("--ignore", "W002,W009")


def tracked() -> list[str]:
    """The files that git knows here, or, in an unpacked sdist, those that it holds."""
    git = ["git", "-C", str(ROOT), "ls-files", "-z"]
    if (ROOT / ".git").exists():
        listed = subprocess.run(git, check=True, capture_output=True, text=True).stdout.split("\0")
        return sorted(name for name in listed if name and (ROOT / name).is_file())
    held = next(ROOT.glob("llava_faba.egg-info/SOURCES.txt"), None)
    if held is None:
        sys.exit("tools/dist.py: neither a git clone nor an unpacked sdist.")
    return sorted(name for name in held.read_text().split("\n") if name and ".egg-info" not in name)


def copy(names: list[str], folder: Path) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def check_sdist(sdist: Path, names: list[str]) -> None:
    """It holds all that is tracked, and nothing else but its metadata."""
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames() if not archive.getmember(name).isdir()}
    absent = sorted(set(names) - held)
    more = sorted(name for name in held - set(names) if name != "PKG-INFO" and "egg-info" not in name)
    if absent or more:
        sys.exit(f"{sdist.name}: lacks {absent[:10]}, holds besides {more[:10]}; see MANIFEST.in.")
    print(f"{sdist.name}: all {len(names)} tracked files")


def check_wheel(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    stray = sorted(name for name in held if name.split("/")[0] in ("tests", "docs", "tools", "requirements", "eval"))
    if stray:
        sys.exit(f"{wheel.name}: holds {stray[:10]}, which only the sdist should.")
    print(f"{wheel.name}: {len(held)} files")


def use(package: Path, folder: Path) -> None:
    """Install the package into a fresh environment, and run both programs in a folder of their own."""
    venv.create(folder / "env", with_pip=True)
    python, elsewhere = folder / "env" / "bin" / "python", folder / "elsewhere"
    elsewhere.mkdir()
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", package)
    run(python, "-m", "pip", "check", cwd=elsewhere)
    texts = {"1, 4": "AU1 and AU4.", "12": "AU12."}
    records = [{"image": "a.png", "label": label, "gpt4": text} for label, text in texts.items()]
    answers = [json.dumps({"question_id": number, "text": text}) + "\n" for number, text in enumerate(texts.values())]
    (elsewhere / "anno.json").write_text(json.dumps(records))
    (elsewhere / "answers.jsonl").write_text("".join(answers))
    files = ("--annotations", "anno.json", "--answers", "answers.jsonl", "--output", "out.json")
    run(
        python.with_name("faba-bench"), "score", "--task", "au", "--protocol", "faba", *files, cwd=elsewhere, quiet=True
    )
    score = json.loads((elsewhere / "out.json").read_text())["modes"]["reference"]["s_re"]
    tasks = run(python, "-m", "faba_bench.lmms_eval_tasks", cwd=elsewhere, quiet=True).strip()
    found = json.loads(run(python.with_name("llava-faba"), "doctor", "--json", cwd=elsewhere, quiet=True, code=1))
    missing = {one["name"] for one in found if one["level"] == "error"}
    if score != 100 or not (Path(tasks) / "faba_bench" / "utils.py").is_file() or "llava" not in missing:
        sys.exit(f"{package.name}: installed, it scored {score}, tasks lie in {tasks}, the doctor misses {missing}.")
    # What error messages and pages name: an extra of what is installed, with no index that knows it.
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "llava-faba[dlib]", cwd=elsewhere)
    found = json.loads(run(python.with_name("llava-faba"), "doctor", "--json", cwd=elsewhere, quiet=True, code=1))
    if not next(one for one in found if one["name"] == "expert dlib-68")["details"]["usable"]:
        sys.exit(f"{package.name}: the extra dlib was installed, and the expert dlib-68 is not usable.")
    print(f"{package.name}: installed and used; without LLaVA the doctor names {', '.join(sorted(missing))}")


def run(*command: object, cwd: Path | None = None, quiet: bool = False, code: int = 0) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=clean, capture_output=True, text=True)
    if done.returncode != code:
        sys.exit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    if not quiet and done.stdout.strip():
        print(done.stdout.strip())
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
