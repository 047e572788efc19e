"""Strict reading of emotions: a named test per trap."""

from __future__ import annotations

import time

import pytest
from faba_bench.strict.emotion import read_emotion
from hypothesis import given, settings
from hypothesis import strategies as st

CLASSES = ("Happiness", "Sadness", "Surprise", "Anger", "Neutral", "Disgust", "Fear")


def emotion(text: str) -> str | None:
    return read_emotion(text, CLASSES).value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The person looks sad.", "Sadness"),
        ("She is angry", "Anger"),
        ("He is afraid!", "Fear"),
        ("**Disgust**", "Disgust"),
        ("emotion: Fear", "Fear"),
        ("happy_face", "Happiness"),
        ("He feels unhappy", "Sadness"),
        ("3", "Anger"),
    ],
)
def test_adjectives_and_bare_answers_are_known(text: str, expected: str) -> None:
    assert emotion(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "   ", "The chair is red.", "9", "A face without any emotion", "It can't be anger", "Nothing suggests fear"],
)
def test_nothing_is_guessed(text: str) -> None:
    assert emotion(text) is None


def test_trap_negation_is_a_whole_word() -> None:
    assert emotion("The notable smile now shows happiness.") == "Happiness"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The person is not happy but sad.", "Sadness"),
        ("The person is not angry, he looks sad", "Sadness"),
        ("not angry and appears happy", "Happiness"),
        ("There is no happiness and the man looks disgusted", "Disgust"),
        ("The person conveys sadness, not anger.", "Sadness"),
        ("The raised brows, rather than fear, convey surprise", "Surprise"),
        ("Happiness is not present here. Sadness is.", "Sadness"),
        ("There is an absence of joy. The face is sad", "Sadness"),
        ("The happy woman is not crying", "Happiness"),
        ("The absence of a smile suggests sadness", "Sadness"),
    ],
)
def test_negation_is_scoped_to_its_clause(text: str, expected: str) -> None:
    assert emotion(text) == expected


def test_trap_one_negation_denies_a_whole_enumeration() -> None:
    assert emotion("There is no sign of anger, fear, or disgust. The face is neutral.") == "Neutral"
    assert emotion("neither happy nor sad, but neutral") == "Neutral"


def test_trap_nt_with_either_apostrophe() -> None:
    assert emotion("She isn't smiling; she is frightened.") == "Fear"
    assert emotion("She isn\u2019t happy.") is None


def test_trap_harmless_negations() -> None:
    assert emotion("Not only happy but ecstatic") == "Happiness"
    assert emotion("There is nothing but joy in the face") == "Happiness"
    assert emotion("no doubt this is happiness") == "Happiness"
    assert emotion("No, the person is happy.") == "Happiness"


def test_trap_an_aside_does_not_outvote_the_verdict() -> None:
    assert emotion("Although the brows suggest fear, the emotion is surprise.") == "Surprise"
    assert emotion("The face shows happiness with a hint of sadness.") == "Happiness"
    assert (
        emotion("The emotion conveyed by this face is fear. Surprise widens the eyes. Surprise lifts the brows.")
        == "Fear"
    )


def test_trap_cue_words_do_not_outvote_a_name() -> None:
    assert emotion("Worry, panic, alarm: the man is angry.") == "Anger"
    assert emotion("Worry and panic.") == "Fear"


def test_contempt_is_a_class_only_where_the_protocol_has_it() -> None:
    assert emotion("a look of contempt") == "Disgust"
    assert read_emotion("a look of contempt", (*CLASSES, "Contempt")).value == "Contempt"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["happy", "not", "sadness", " ", ", ", ". ", "and", "is", "n't", "although", "(", "emotion "]),
        max_size=40,
    ).map(" ".join)
    | st.text(max_size=200)
)
def test_any_text_gives_a_class_or_none(text: str) -> None:
    assert emotion(text) in (*CLASSES, None)


@pytest.mark.parametrize("piece", ["happy, ", "not ", ".", " ", "emotion a b ", "and ", "happy (", "w"])
def test_time_is_linear_in_the_text(piece: str) -> None:
    start = time.process_time()
    emotion(piece * (100_000 // len(piece)) + "x")
    assert time.process_time() - start < 5
