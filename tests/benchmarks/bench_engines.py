"""Answers per second of every engine on one random model, in one run; writes runs/bench-engines.json.

make bench-engines        # needs the environments of 'make setup' and 'make setup-vllm'

Compared are a loop that asks LLaVA about one picture at a time, the engines llava and transformers in batches of 16,
and vllm. float32, two threads, stored priors, loading not counted. Each engine holds its model in a process of its own,
and they take turns block by block, so that a busy machine slows down all; between its turns a process waits.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT / "eval"), str(Path(__file__).parent)]
THREADS = 2
BATCH = 16
VLLM = {"PYTHONPATH": str(ROOT / "tests" / "vllm_engine" / "stand_ins")}  # what torch's CPU build lacks
ENGINES = ("one_at_a_time", "llava", "transformers", "vllm")
Answers = dict[str, list[int]]


def make_model(folder: Path, count: int) -> Path:
    """A random EmoLA of about 60 million parameters, ``count`` pictures of a face, and a question for each."""
    import torch
    from tiny import PRIOR_SIZE, make_faces, make_questions

    from llava_faba.demo.base import BaseSize, build_base
    from llava_faba.model.config import EmolaConfig
    from llava_faba.model.emola import EmolaLlamaForCausalLM
    from llava_faba.priors.extract import extract

    names = make_faces(folder / "images", count)
    make_questions(folder / "questions.jsonl", names)
    extract(sorted(names), folder / "images", folder / "priors", expert="dlib-68")
    size = BaseSize(
        hidden=640, layers=12, heads=10, intermediate=1728, vocabulary=400, positions=1024, vision_hidden=320
    )
    texts = [f"AU{number}: the brows are raised. What AUs are conveyed by this face?" for number in range(30)] * 5
    build_base(folder / "base", folder / "tower", texts, size)
    values = json.loads((folder / "base" / "config.json").read_text(encoding="utf-8")) | {
        "model_type": "emollava",
        "mm_vision_tower": str(folder / "tower"),
        "mm_hidden_size": size.vision_hidden,
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": -2,
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "image_aspect_ratio": "pad",
        "landmark_feature_hidden_size": PRIOR_SIZE,
        "facial_prior_expert": "dlib-68",
        "conversation_template": "llava_v1",
    }
    torch.manual_seed(0)
    model = EmolaLlamaForCausalLM(EmolaConfig.from_dict(values))
    for name, parameter in model.named_parameters():
        if "projector" in name:
            torch.nn.init.normal_(parameter, std=0.3)
        elif parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.04)
    checkpoint = folder / "llava-v1-emola"
    model.save_pretrained(checkpoint)
    for name in ("tokenizer.model", "tokenizer_config.json"):
        (checkpoint / name).write_bytes((folder / "base" / name).read_bytes())
    print(f"{sum(one.numel() for one in model.parameters()) / 1e6:.0f} million parameters", file=sys.stderr)
    return checkpoint


# ---- In the process of one engine.


def work(engine: str, folder: Path, tokens: int) -> None:
    """Answer what comes in on standard input, a list of questions a line; say how long it took and what was said."""
    import torch

    torch.set_num_threads(THREADS)
    talk, sys.stdout = sys.stdout, sys.stderr
    start = time.perf_counter()
    with answering(engine, folder, tokens) as answer:
        first = json.loads(sys.stdin.readline())
        answer(first)
        print(json.dumps({"seconds": time.perf_counter() - start}), file=talk, flush=True)
        for line in sys.stdin:
            begin = time.perf_counter()
            answers = answer(json.loads(line))
            print(json.dumps({"seconds": time.perf_counter() - begin, "answers": answers}), file=talk, flush=True)


def answering(engine: str, folder: Path, tokens: int) -> Any:
    import contextlib

    from llava_faba.inference.settings import GenerateSettings

    settings = GenerateSettings(
        conversation="llava_v1" if engine in ("llava", "one_at_a_time") else None,
        max_new_tokens=tokens,
        store=str(folder / "priors"),
        batch_size=BATCH,
        engine="llava" if engine == "one_at_a_time" else engine,
    )
    if engine == "vllm":
        return with_vllm(folder, settings)
    return contextlib.nullcontext(in_process(engine, folder, settings))


def in_process(engine: str, folder: Path, settings: Any) -> Callable[[list[Any]], Answers]:
    from llava_faba.inference.workers import batch_engine, batches_by_length

    model = folder / ("native" if engine == "transformers" else "llava-v1-emola")
    made = batch_engine(settings.engine)(str(model), None, folder / "images", settings)

    def answer(questions: list[Any]) -> Answers:
        size = 1 if engine == "one_at_a_time" else BATCH
        return tokens_of(made.answer_all(iter(batches_by_length(questions, size))))

    return answer


def with_vllm(folder: Path, settings: Any) -> Any:
    """Requests to one server, as ``bench generate --engine vllm`` makes them."""
    import contextlib

    from llava_faba.inference.engines import server
    from llava_faba.inference.engines.running import started_server

    @contextlib.contextmanager
    def running() -> Iterator[Callable[[list[Any]], Answers]]:
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "0,1")
        log = folder / "a.errors.log"
        with started_server(str(folder / "native"), settings, log) as found:
            server._server = lambda *_: contextlib.nullcontext(found)  # type: ignore[attr-defined]
            yield lambda questions: tokens_of(
                server.answer_with_server(str(folder / "native"), str(folder / "images"), settings, questions, log)
            )

    return running()


def tokens_of(results: Any) -> Answers:
    found = {}
    for result in results:
        if result.error:
            raise SystemExit(f"question {result.question_id}: {result.error}\n{result.trace}")
        found[result.question_id] = list(result.token_ids)
    return found


# ---- In the process that compares.


class Worker:
    """A process that answers with one engine."""

    def __init__(self, engine: str, python: Path, folder: Path, tokens: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "HF_HUB_OFFLINE": "1"}
        if engine in ("transformers", "vllm"):
            environment |= VLLM
        command = [str(python), __file__, "--worker", engine, "--folder", str(folder), "--max-new-tokens", str(tokens)]
        self._log = (folder / f"{engine}.log").open("wb")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment, text=True
        )
        self.engine, self.seconds, self.count, self.answers = engine, 0.0, 0, dict[str, list[int]]()

    def ask(self, questions: list[Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        print(json.dumps(questions), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.engine} ended; its messages: {self._log.name}")
        return dict(json.loads(line))

    def turn(self, questions: list[Any]) -> None:
        found = self.ask(questions)
        self.seconds += found["seconds"]
        self.count += len(questions)
        self.answers |= found["answers"]

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


def compare(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    questions = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    pythons = dict.fromkeys(("one_at_a_time", "llava"), args.llava_python)
    pythons |= dict.fromkeys(("transformers", "vllm"), args.vllm_python)
    workers, first = {}, {}
    for name in ENGINES:  # one after the other: each one's time to its first answer is its own
        workers[name] = Worker(name, pythons[name], folder, args.max_new_tokens)
        first[name] = workers[name].ask(questions[:1])["seconds"]
        print(f"{name}: first answer after {first[name]:.1f} s", file=sys.stderr)
    for block in range(args.blocks):
        part = questions[block :: args.blocks]
        for name, worker in workers.items():
            worker.turn(part[: args.alone] if name == "one_at_a_time" else part)
    for worker in workers.values():
        worker.end()
    rates = {name: round(worker.count / worker.seconds, 3) for name, worker in workers.items()}
    said, right = workers["vllm"].answers, workers["transformers"].answers
    equal = sum(said[name] == tokens for name, tokens in right.items())
    lengths = [len(tokens) for tokens in right.values()]
    return {
        **rates,
        "equal": {"vllm": equal, "of": len(right)},
        "seconds_to_first_answer": {name: round(seconds, 1) for name, seconds in first.items()},
        "tokens": {"least": min(lengths), "most": max(lengths), "mean": round(sum(lengths) / len(lengths), 1)},
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--worker", choices=ENGINES)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--llava-python", type=Path, default=ROOT / ".venv/bin/python")
    parser.add_argument("--vllm-python", type=Path, default=ROOT / ".venv-vllm/bin/python")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench-engines.json")
    parser.add_argument("--questions", type=int, default=128, help="(default: %(default)s)")
    parser.add_argument("--alone", type=int, default=8, help="of each block, asked alone (default: %(default)s)")
    parser.add_argument("--blocks", type=int, default=2, help="turns that each takes (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=128, help="(default: %(default)s)")
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.folder, args.max_new_tokens)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        if not (folder / "native").exists():
            checkpoint = make_model(folder, args.questions)
            convert = ["-m", "llava_faba", "checkpoint", "to-transformers", f"--model-path={checkpoint}"]
            subprocess.run(
                [args.vllm_python, *convert, f"--out={folder / 'native'}"],
                check=True,
                stdout=sys.stderr,
                env={**os.environ, **VLLM},
            )
        result = compare(args, folder)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
