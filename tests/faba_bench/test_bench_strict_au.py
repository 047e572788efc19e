"""Strict reading of action units: a named test per trap."""

from __future__ import annotations

import time

import pytest
from faba_bench.strict.au import read_aus
from hypothesis import given, settings
from hypothesis import strategies as st

VOCABULARY = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 23, 24, 25, 26, 27, 43)


def aus(text: str) -> list[int]:
    return list(read_aus(text, VOCABULARY).value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AU 4", [4]),
        ("au4", [4]),
        ("AU04", [4]),
        ("AU-12", [12]),
        ("Action Unit 12 is visible", [12]),
        ("AU1+2", [1, 2]),
        ("AU25/26", [25, 26]),
        ("AU 6 & 12", [6, 12]),
        ("AUs 6 and 12", [6, 12]),
        ("AUs 6, 12 and 25 suggest a smile", [6, 12, 25]),
        ("The action units present are: 6, 12, and 25.", [6, 12, 25]),
        ("AU1, 2, and 4 are active", [1, 2, 4]),
        ("AU12R", [12]),
        ("AU L12", [12]),
        ("AU6B+12C", [6, 12]),
        ("AU 12 at intensity 3 and AU 6 at intensity 2", [12, 6]),
    ],
)
def test_spellings(text: str, expected: list[int]) -> None:
    assert aus(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cheek Raiser and Lip Corner Puller", [6, 12]),
        ("Lips part", [25]),
        ("Jaw Drop (AU26)", [26]),
        ("upper lip raiser", [10]),
        ("lower-lip depressor", [16]),
        ("The eyes are closed, the cheeks are clearly raised", [43, 6]),
        ("The lips are not parted", []),
        ("The cheeks are hardly raised", []),
        ("The lip corners are pulled up", [12]),
        ("AU15 - Lip corner depressor: the lip corners are pulled down.", [15]),
        ("lip corners pulled downwards", [15]),
        ("The chin is raised, the face turned upwards", []),
    ],
)
def test_facs_names(text: str, expected: list[int]) -> None:
    assert aus(text) == expected


def test_trap_a_name_that_contradicts_its_number_loses() -> None:
    assert aus("AU9 (Lip Corner Puller) is seen") == [9]


@pytest.mark.parametrize(
    "text",
    [
        "AU4 is not present.",
        "AU4 isn't visible",
        "AU4 isn\u2019t visible",
        "no AU4",
        "neither AU1 nor AU2 is active",
        "AU4 and AU7 are not present",
        "The face does not show AU4.",
        "There is no sign of AU4 or AU7.",
        "None of AU1, AU2 or AU4 is present",
        "I can't see AU12, AU25 or AU26.",
        "AU4 (Brow Lowerer) is not activated.",
        "The brow lowerer (AU4) is not activated.",
        "AU4: absent",
        "AU1 and AU2 are absent",
        "The inner brow is not raised.",
        "AU4 is n't present",
        "AU4 never appears",
        "nothing suggests AU4",
    ],
)
def test_denied_units_are_not_positive(text: str) -> None:
    found = read_aus(text, VOCABULARY)
    assert found.value == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AU4 is not present, but AU12 is.", [12]),
        ("AU1 is active, but AU4 is not", [1]),
        ("AU1 is active and AU2 is not active", [1]),
        ("AU12, not AU14", [12]),
        ("AU6 without AU12", [6]),
        ("AU6 is present and AU12 is absent", [6]),
        ("AU6 and AU12 are present, while AU4 is not.", [6, 12]),
        ("AU1, AU2, and AU5 are active, AU4 and AU7 are not.", [1, 2, 5]),
        ("AU1 and AU2 are absent, AU4 is active.", [4]),
        ("AU4: No\nAU12: Yes", [12]),
        ("AU4=0, AU6=1", [6]),
        ("There are no wrinkles and AU12 is present", [12]),
        ("The person is not smiling, showing AU15 and AU17.", [15, 17]),
        ("The absence of AU6 suggests a polite smile (AU12).", [12]),
        ("No. AU6 is active.", [6]),
        ("AU6 is not accompanied by AU12.", [6]),
        ("AU4 not present, AU6 present", [6]),
        ("AU4 - no, AU6 - yes", [6]),
        ("The absence of AU6 suggests AU14", [14]),
    ],
)
def test_negation_stays_in_its_clause(text: str, expected: list[int]) -> None:
    assert aus(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "| AU4 | 0 |\n| AU6 | 1 |",
        '{"AU4": 0, "AU6": 1}',
        '{"AU4": false, "AU6": true}',
        "**AU4**: absent\n**AU6**: present",
        "AU4 = 0.0, AU6 = 0.8",
        "AU6: 1, AU4: 0.",
    ],
)
def test_tables_and_json(text: str) -> None:
    assert aus(text) == [6]


def test_trap_not_only_and_not_very_are_positive() -> None:
    assert aus("AU12 is not only present but strong") == [12]
    assert aus("AU12 is not very strong") == [12]


def test_trap_list_numbers_are_not_units() -> None:
    assert aus("The visible action units are: 1. AU4 - Brow Lowerer\n2. AU12") == [4, 12]
    assert aus("AU4, 2. AU6, 5. Jaw drop") == [4, 6, 26]
    assert aus("AU12 and 3 wrinkles") == [12]


def test_trap_words_that_begin_with_au() -> None:
    assert aus("AUTUMN 4, author 12, sAU4") == []


def test_trap_numbers_too_long_for_a_unit() -> None:
    assert aus("AU" + "4" * 5000) == []


def test_a_bare_list_of_numbers_is_an_answer() -> None:
    assert aus("1, 4, 25") == [1, 4, 25]
    assert aus("[6 12].") == [6, 12]


def test_units_outside_the_vocabulary_are_left_out_and_said() -> None:
    found = read_aus("AU11 and AU4", (4,))
    assert found.value == (4,)
    assert "AU11" in found.evidence


def test_unparsed_is_silence_not_a_denial() -> None:
    assert not read_aus("The chair is red", VOCABULARY).parsed
    assert not read_aus("", VOCABULARY).parsed
    assert read_aus("No action units are active", VOCABULARY).parsed
    assert read_aus("AU4 is absent", VOCABULARY).parsed


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "AU",
                "4",
                "12",
                " ",
                ",",
                ".",
                "and",
                "not",
                "is",
                "(",
                ")",
                "AUs",
                "+",
                "\n",
                "brow lowerer",
                ":",
            ]
        ),
        max_size=40,
    ).map("".join)
    | st.text(max_size=200)
)
def test_any_text_gives_distinct_units_of_the_vocabulary(text: str) -> None:
    value = read_aus(text, VOCABULARY).value
    assert len(set(value)) == len(value)
    assert set(value) <= set(VOCABULARY)


@pytest.mark.parametrize(
    "piece",
    [
        "AU4 not ",
        "AU1 ",
        ".",
        " ",
        "AU4 (",
        "AUs are ",
        "AU4 isn't ",
        "1, ",
        "((",
        "AU4: 0 no ",
        "lips are\t",
        "absence of AU4 ",
    ],
)
def test_time_is_linear_in_the_text(piece: str) -> None:
    start = time.process_time()
    read_aus("AU" + piece * (100_000 // len(piece)) + "x", VOCABULARY)
    assert time.process_time() - start < 5
