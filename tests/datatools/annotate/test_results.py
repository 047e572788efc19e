"""What becomes of the answers: filters, sorting, review; and what is asked for."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from annotation_server import GOOD, Server
from PIL import Image

from llava_faba.datatools.annotate.filters import Limits, judge
from llava_faba.datatools.annotate.images import Target, targets_in_files, targets_in_folder
from llava_faba.datatools.annotate.pipeline import ask, sort
from llava_faba.datatools.annotate.prompts import load_prompt, prompt_names
from llava_faba.datatools.annotate.review import load_decisions
from llava_faba.datatools.validate import validate
from llava_faba.errors import UserError

LIMITS = Limits.of("au", None, None, 0.5)
SORRY = "I'm sorry, but I can't help with analyzing the facial expression of this person today."
NO_AU = "The person in this picture looks at the camera with an open and friendly face today."
AT_REST = "The face is at rest with smooth skin. No action units are active in this face."
HAPPY = "The face shows happiness. The cheeks are lifted and the mouth smiles."
NO_EMOTION = "There is a face in the picture and it has two eyes."


@pytest.mark.parametrize(
    ("task", "text", "finish", "given", "reason"),
    [
        ("au", GOOD, "stop", None, None),
        ("au", GOOD, "stop", "6, 12", None),
        ("au", GOOD, "stop", "1, 2, 4", "disagrees"),
        ("au", GOOD, "length", None, "unfinished"),
        ("au", GOOD[:-20], "stop", None, "unfinished"),
        ("au", GOOD, "content_filter", None, "content filter"),
        ("au", "AU12 - smile.", "stop", None, "too short"),
        ("au", GOOD + " very" * 500 + ".", "stop", None, "too long"),
        ("au", SORRY, "stop", None, "refusal"),
        ("au", NO_AU, "stop", None, "names no action unit"),
        ("au", GOOD + " AU99 - Something: odd.", "stop", None, "unknown AU: 99"),
        ("au", GOOD + " AU4 is not present.", "stop", None, "not active: 4"),
        ("au", AT_REST, "stop", "", None),
        ("emotion", HAPPY, "stop", "Happiness", None),
        ("emotion", HAPPY, "stop", "Fear", "disagrees"),
        ("emotion", NO_EMOTION, "stop", None, "names no emotion"),
    ],
)
def test_filters(task: str, text: str, finish: str, given: str | None, reason: str | None) -> None:
    verdict = judge(task, text, finish, given, Limits.of(task, None, None, 0.5))
    if reason is None:
        assert verdict.reasons == ()
        assert verdict.label is not None
    else:
        assert any(reason in one for one in verdict.reasons), verdict


def test_sorting_writes_valid_records_and_reasons(server: Server, faces, annotation, load) -> None:
    server.plan = {1: ["text|AU1 only."], 2: [f"text|{GOOD}|length"]}
    folder = faces(4)
    targets = [
        Target(f"{number:02d}.png", f"id{number}", "6, 12" if number < 4 else "1", "s1", "AffectNet")
        for number in range(1, 5)
    ]
    job = annotation(folder, targets=targets)
    ask(job)
    summary = sort(job, LIMITS)
    assert (summary["accepted"], summary["rejected"]) == (1, 3)
    records = load(job.out / "train_au_anno.json")
    assert records[0]["label"] == "6, 12"
    assert records[0]["subject"] == "s1"
    assert records[0]["annotator"]["prompt"] == prompt_names("au")[-1]
    assert validate([job.out / "train_au_anno.json"], image_folder=folder).ok
    rejected = {line["image"]: line["reasons"] for line in load(job.out / "rejected.json")}
    assert any("too short" in reason for reason in rejected["01.png"])
    assert any("unfinished" in reason for reason in rejected["02.png"])
    assert any("disagrees" in reason for reason in rejected["04.png"])


class _Cards(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cards: list[dict[str, str | None]] = []
        self.images: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "article":
            self.cards.append(values)
        elif tag == "img":
            self.images.append(values["src"] or "")
        elif tag == "script":
            self.scripts += 1


def test_review_page_shows_and_escapes_and_decisions_apply(server: Server, faces, annotation, load) -> None:
    server.plan = {1: ["text|<script>alert(1)</script> $text AU1."]}
    job = annotation(faces(3))
    ask(job)
    sort(job, LIMITS)
    page = (job.out / "review" / "page-001.html").read_text()
    cards = _Cards()
    cards.feed(page)
    assert cards.scripts == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $text AU1." in page
    assert [card["data-default"] for card in cards.cards] == ["reject", "accept", "accept"]
    with Image.open(io.BytesIO(base64.b64decode(cards.images[0].split(",", 1)[1]))) as image:
        assert image.size == (16, 16)
    decisions = job.out / "decisions.json"
    keys = [str(card["data-key"]) for card in cards.cards]
    decisions.write_text(json.dumps({keys[0]: "accept", keys[1]: "accept"}))
    later = job.out / "decisions-2.json"
    later.write_text(json.dumps({keys[1]: "reject"}))
    summary = sort(job, LIMITS, load_decisions([decisions, later]))
    assert (summary["accepted"], summary["rejected"], summary["decided_by_hand"]) == (2, 1, 2)
    assert load(job.out / "rejected.json")[0]["reasons"] == ["rejected by hand"]
    decisions.write_text('{"x": "perhaps"}')
    with pytest.raises(UserError, match="decisions"):
        load_decisions([decisions])


def test_targets_from_files_keep_labels_and_refuse_contradictions(tmp_path: Path) -> None:
    path = tmp_path / "eval.json"
    path.write_text(json.dumps([{"image": "a.png", "label": "1"}, {"image": "a.png", "label": "1"}]))
    assert targets_in_files([path], "au") == [Target("a.png", "a", "1")]
    path.write_text(json.dumps([{"image": "a.png", "label": "1"}, {"image": "a.png", "label": "2"}]))
    with pytest.raises(UserError, match=r"label '2' here and '1' before"):
        targets_in_files([path], "au")
    with pytest.raises(UserError, match="no image below"):
        targets_in_folder(tmp_path)
    # labels of the other task are not compared with the answers; those that cannot be read stop before any cost
    path.write_text(json.dumps([{"image": "a.png", "label": "Fear", "subject": "s"}]))
    assert targets_in_files([path], "au") == [Target("a.png", "a", None, "s")]
    assert targets_in_files([path], "emotion")[0].label == "Fear"
    path.write_text(json.dumps([{"image": "a.png", "label": "1, 4"}, {"image": "b.png", "label": "1; 4"}]))
    with pytest.raises(UserError, match=r"eval\.json\[1\]: AU label '1; 4'"):
        targets_in_files([path], "au")


def test_prompts_are_versioned_and_own_ones_are_read(tmp_path: Path) -> None:
    assert load_prompt("au") == load_prompt("au", "au-v1")
    assert load_prompt("au").sha256 != load_prompt("emotion").sha256
    own = tmp_path / "mine.txt"
    own.write_text("Describe the face.")
    assert load_prompt("au", str(own)).text == "Describe the face."
    own.write_text(" ")
    with pytest.raises(UserError, match="empty"):
        load_prompt("au", str(own))
    with pytest.raises(UserError, match=r"no prompt 'au-v0'.*au-v1"):
        load_prompt("au", "au-v0")
