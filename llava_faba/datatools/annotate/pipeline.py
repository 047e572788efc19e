"""From images to accepted answers.

``ask`` sends faces to a model behind an OpenAI-compatible API and keeps every raw answer in ``raw.jsonl``;
``sort`` judges the answers and writes training records, rejected ones with reasons, and review pages.
``sort`` needs no network and can be repeated with other limits or with decisions made by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faba_bench.chat.cost import Estimate, estimate
from faba_bench.chat.replies import well_formed
from faba_bench.questions import QUESTIONS
from faba_bench.thoughts import strip_thoughts

from llava_faba.datatools.annotate.asking import Asker, Outcome, Policy, request_key
from llava_faba.datatools.annotate.client import Client
from llava_faba.datatools.annotate.filters import Limits, judge
from llava_faba.datatools.annotate.images import Target, fingerprint
from llava_faba.datatools.annotate.journal import Journal
from llava_faba.datatools.annotate.prompts import Prompt
from llava_faba.datatools.annotate.review import Card, write_pages
from llava_faba.records import annotation as records

RAW = "raw.jsonl"

__all__ = ["Annotation", "ask", "sort"]


@dataclass(frozen=True)
class Annotation:
    """What to annotate with what: the same for estimating, asking and sorting."""

    task: str
    targets: Sequence[Target]
    image_folder: Path
    out: Path
    client: Client
    prompt: Prompt
    policy: Policy = field(default_factory=Policy)

    _digests: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def keyed(self) -> list[tuple[Target, str]]:
        """Targets with the keys of their requests; reads every image file the first time."""
        for target in self.targets:
            if target.image not in self._digests:
                self._digests[target.image] = fingerprint(self.image_folder / target.image)
        side = self.policy.max_side
        return [
            (target, request_key(self._digests[target.image], self.prompt, self.client, side))
            for target in self.targets
        ]

    def journal(self) -> Journal:
        return Journal(self.out / RAW)

    def estimate(self, image_tokens: int) -> Estimate:
        """Of what is not answered yet."""
        known = self.journal().answers()
        missing = {key for _, key in self.keyed() if key not in known}
        return estimate(
            len(missing),
            self.task,
            self.prompt.text,
            image_tokens,
            self.client.max_tokens,
            self.policy.prices,
        )


def ask(annotation: Annotation, progress: bool = False) -> Outcome:
    """Send all requests without an answer yet. Raises ``UserError`` when none can succeed (key, address)."""
    asker = Asker(
        annotation.client,
        annotation.prompt,
        annotation.journal(),
        annotation.policy,
        annotation.image_folder,
    )
    return asker.run(annotation.keyed(), progress)


def sort(
    annotation: Annotation, limits: Limits, decisions: Mapping[str, str] | None = None, pages: bool = True
) -> dict[str, Any]:
    """Judge all answers and write ``train_<task>_anno.json``, ``rejected.json``, ``summary.json``,
    ``review/``.

    ``decisions`` (by key, "accept" or "reject") overrule the filters. Returns the summary.
    """
    decisions = decisions or {}
    answered = annotation.journal().answers()
    accepted, rejected, cards = [], [], []
    reasons: Counter[str] = Counter()
    unanswered = thoughtful = 0
    keyed = annotation.keyed()
    for target, key in keyed:
        line = answered.get(key)
        if line is None:
            unanswered += 1
            continue
        given_text = strip_thoughts(line["text"])
        thoughtful += given_text.had_thoughts
        text = well_formed(given_text.text).strip()
        verdict = judge(annotation.task, text, line.get("finish_reason", ""), target.label, limits)
        against = list(verdict.reasons)
        if decisions.get(key) == "accept" and text:
            against = []
        elif decisions.get(key) == "reject":
            against = ["rejected by hand", *against]
        reasons.update(reason.split(":")[0] for reason in against)
        if against:
            rejected.append({"key": key, "image": target.image, "reasons": against, "text": text})
        else:
            accepted.append(_record(annotation, target, key, line, text, verdict.label))
        given = None if target.label is None else str(target.label)
        cards.append(Card(key, target.image, text, verdict.label, given, tuple(against)))
    records.save_json(annotation.out / f"train_{annotation.task}_anno.json", accepted)
    records.save_json(annotation.out / "rejected.json", rejected)
    if pages:
        # What the filters doubt comes first: that is what a person should look at.
        cards.sort(key=lambda card: not card.reasons)
        write_pages(cards, annotation.out / "review", annotation.image_folder, annotation.prompt.sha256[:12])
    summary = {
        "task": annotation.task,
        "model": annotation.client.model,
        "prompt": annotation.prompt.name,
        "images": len(keyed),
        "answered": len(cards),
        "unanswered": unanswered,
        "accepted": len(accepted),
        "rejected": len(rejected),
        "with_thoughts": thoughtful,
        "decided_by_hand": sum(card.key in decisions for card in cards),
        "reasons": dict(reasons.most_common()),
    }
    records.save_json(annotation.out / "summary.json", summary)
    return summary


def _record(
    annotation: Annotation, target: Target, key: str, line: Mapping[str, Any], text: str, read: str | None
) -> records.Record:
    label = target.label if target.label is not None else read
    record = records.training_record(
        source=target.source or "annotated",
        image=target.image,
        record_id=target.record_id,
        question=QUESTIONS[annotation.task],
        answer=text,
        label=str(label) if label is not None else "",
        subject=target.subject,
    )
    record["annotator"] = {"model": line.get("model"), "prompt": line.get("prompt"), "key": key}
    return record
