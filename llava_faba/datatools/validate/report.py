"""Problems, grouped by kind, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """A kind of problem: does it fail the validation, what is it, and what helps."""

    is_error: bool
    what: str
    remedy: str


KINDS: dict[str, Kind] = {
    "file": Kind(True, "annotation file cannot be read", "fix the file or leave it out"),
    "schema": Kind(True, "record does not have the layout", "see docs/data.md for the two record layouts"),
    "turns": Kind(True, "question and answer do not alternate", "start with 'human', end with 'gpt'"),
    "image-token": Kind(
        True,
        "wrong number of <image> tokens",
        "one where there is an image, at the start or the end of the first question",
    ),
    "thoughts": Kind(True, "answer holds a model's thoughts", "keep the answer only, without <think> and the like"),
    "image-path": Kind(
        True, "image path leaves the image folder", "use paths inside --image-folder, or say --allow-outside"
    ),
    "image-missing": Kind(True, "image file does not exist", "check --image-folder and the file's name"),
    "image-unreadable": Kind(True, "image cannot be decoded", "fetch the file again or drop the record"),
    "prior-missing": Kind(True, "no facial prior", "run 'llava-faba priors extract' or give the record a 'landmark'"),
    "prior-path": Kind(
        True, "facial prior's path leaves the image folder", "use paths inside --image-folder, or say --allow-outside"
    ),
    "prior-unreadable": Kind(True, "facial prior cannot be read", "extract it again"),
    "prior-size": Kind(True, "facial prior of the wrong size", "use one expert for all data"),
    "prior-value": Kind(True, "facial prior is not finite", "extract it again"),
    "prior-other-picture": Kind(
        True, "the facial prior was made from another picture", "run 'llava-faba priors extract' on the images again"
    ),
    "prior-no-face": Kind(False, "the expert did not find exactly one face", "check or drop these images"),
    "label": Kind(True, "label cannot be parsed", "'1, 4, 25' for AUs; a class name or index for emotion"),
    "au-number": Kind(True, "AU number does not exist in FACS", "correct the label"),
    "au-protocol": Kind(False, "AU number is not in the protocol's vocabulary", "the scorer will ignore it"),
    "contradiction": Kind(True, "answer denies its own label", "correct the answer or the label"),
    "label-unsaid": Kind(False, "answer does not mention an AU of its label", "complete the answer"),
    "unlabelled-au": Kind(False, "answer states an AU that its label lacks", "complete the label"),
    "emotion-differs": Kind(False, "answer names another emotion than its label", "check both"),
    "duplicate-id": Kind(True, "two records of a file share an id", "ids must be unique in a file"),
    "duplicate-sample": Kind(True, "same image and same question twice in a file", "drop one of the records"),
    "duplicate-image": Kind(False, "different files hold the same picture", "drop one, or make sure that it is meant"),
    "leakage": Kind(True, "same picture in training and evaluation data", "drop it from the training data"),
    "leakage-subject": Kind(
        False, "same person in training and evaluation data", "keep people apart: 'data mix --split-by subject'"
    ),
    "leakage-near": Kind(False, "nearly the same picture in training and evaluation data", "look at both and drop one"),
}


@dataclass(frozen=True)
class Problem:
    """One finding; ``index`` is the record's position in its file (-1 for the file as a whole)."""

    kind: str
    file: str
    index: int
    record_id: str | None
    message: str

    def where(self) -> str:
        if self.index < 0:
            return self.file
        name = f" (id {self.record_id})" if self.record_id is not None else ""
        return f"{self.file}[{self.index}]{name}"


@dataclass
class Report:
    """All problems of a set of files. ``ok`` is what the exit code says."""

    files: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    n_images: int = 0
    strict: bool = False

    def add(self, problems: Iterable[Problem]) -> None:
        self.problems.extend(problems)

    @property
    def n_records(self) -> int:
        return sum(int(entry["records"]) for entry in self.files)

    def count(self, *, errors: bool) -> int:
        return sum(KINDS[problem.kind].is_error == errors for problem in self.problems)

    @property
    def ok(self) -> bool:
        return not (self.problems if self.strict else self.count(errors=True))

    def groups(self) -> list[tuple[str, list[Problem]]]:
        """Problems by kind, errors first, each group in the order of the files."""
        grouped: dict[str, list[Problem]] = {}
        for problem in self.problems:
            grouped.setdefault(problem.kind, []).append(problem)
        order = list(KINDS)
        return sorted(grouped.items(), key=lambda item: (not KINDS[item[0]].is_error, order.index(item[0])))

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "files": self.files,
            "records": self.n_records,
            "images": self.n_images,
            "errors": self.count(errors=True),
            "warnings": self.count(errors=False),
            "groups": [
                {
                    "kind": kind,
                    "severity": "error" if KINDS[kind].is_error else "warning",
                    "count": len(problems),
                    "what": KINDS[kind].what,
                    "remedy": KINDS[kind].remedy,
                    "problems": [
                        {"file": p.file, "index": p.index, "id": p.record_id, "message": p.message} for p in problems
                    ],
                }
                for kind, problems in self.groups()
            ],
        }

    def to_text(self, examples: int = 5) -> str:
        """A page for people: each group with its count, what helps, and the first ``examples``."""
        lines = [f"{entry['file']}: {entry['records']} {entry['kind']} records" for entry in self.files]
        for kind, problems in self.groups():
            severity = "error" if KINDS[kind].is_error else "warning"
            lines.append("")
            lines.append(f"{severity} {kind}: {len(problems)} x {KINDS[kind].what} -> {KINDS[kind].remedy}")
            lines += [f"  {problem.where()}: {problem.message}" for problem in problems[:examples]]
            if len(problems) > examples:
                lines.append(f"  ... and {len(problems) - examples} more (--examples, --json)")
        lines.append("")
        lines.append(
            f"{self.n_records} records, {self.n_images} images: {self.count(errors=True)} errors, "
            f"{self.count(errors=False)} warnings"
        )
        return "\n".join(lines)
