"""Captions for pretraining: what can be seen in a picture apart from what the face is doing."""

from __future__ import annotations

from numpy.random import Generator

from ..faces.capture import Capture
from .wording import choose, sentence

_PEOPLE: dict[str, tuple[str, ...]] = {
    "collins": (
        "a young woman with short brown hair",
        "a woman with short hair",
        "a person with brown hair and a dark collar",
    ),
    "hopper": (
        "an old woman with glasses and a cap",
        "a woman with glasses and a dark cap",
        "a person in a navy cap with glasses",
    ),
}
_GREY_PEOPLE: dict[str, tuple[str, ...]] = {
    "collins": ("a young woman with short hair", "a person with short hair and a dark collar"),
    "hopper": _PEOPLE["hopper"],
}
_PROMPTS = (
    "Describe the picture.",
    "What is in this photograph?",
    "Caption this image.",
    "What can be seen here?",
)


def caption_prompt(rng: Generator) -> str:
    """A request for a caption."""
    return choose(rng, _PROMPTS)


def tilt_words(capture: Capture) -> str:
    """Which way the head leans, for the viewer; "upright" within two and a half degrees."""
    if abs(capture.tilt) < 2.5:
        return "upright"
    return f"tilted to the {'right' if capture.tilt > 0 else 'left'}"


def place_words(capture: Capture) -> str:
    """Where in the picture the face is."""
    x = capture.shift[0]
    return "in the centre" if abs(x) < 0.015 else "right of the centre" if x > 0 else "left of the centre"


def light_words(capture: Capture) -> str:
    """Where the light comes from, and how much of it there is."""
    where = "even light" if capture.light == "even" else f"light from {_side(capture.light)}"
    if capture.exposure < 0.86:
        return f"dim {where}"
    return f"strong {where}" if capture.exposure > 1.07 else where


def _side(light: str) -> str:
    return f"the {light}" if light in ("left", "right") else light


def caption(portrait: str, capture: Capture, rng: Generator) -> str:
    """Two or three short sentences on person, background, light, tilt, place and sharpness. They say nothing
    that an expression could change."""
    grey = capture.saturation == 0
    who = choose(rng, (_GREY_PEOPLE if grey else _PEOPLE)[portrait])
    kind = choose(rng, ("portrait", "photograph", "picture"))
    behind = f"a {capture.pattern} background" if grey else f"a {capture.pattern} {capture.background} background"
    first = f"a {'black and white ' if grey else ''}{kind} of {who} in front of {behind}"
    close = "close" if capture.zoom > 0.268 else "smaller" if capture.zoom < 0.254 else "well in view"
    facts = [
        f"the head is {tilt_words(capture)}",
        f"there is {light_words(capture)}",
        f"the face is {place_words(capture)}",
        f"the face is {close}",
        f"the image is {_quality(capture)}",
    ]
    chosen = sorted(int(i) for i in rng.choice(len(facts), size=3, replace=False))
    second = f"{facts[chosen[0]]} and {facts[chosen[1]]}"
    return " ".join(sentence(s) for s in (first, second, facts[chosen[2]]))


def _quality(capture: Capture) -> str:
    sharp = "soft" if capture.blur > 0.6 else "sharp"
    return f"{sharp} and grainy" if capture.noise > 3.2 else sharp
