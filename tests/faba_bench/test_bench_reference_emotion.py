"""The authors' reading of emotions, one test per oddity that is kept on purpose."""

from __future__ import annotations

from faba_bench.reference.emotion import read_emotion, without_negated_sentences
from hypothesis import given
from hypothesis import strategies as st


def test_first_listed_word_of_the_first_sentence_decides() -> None:
    assert read_emotion("A worried, happy face. Sadness, sadness.").value == "Happiness"


def test_classes_are_tried_in_the_papers_order_for_a_shared_word() -> None:
    assert read_emotion("It shows curiosity.").value == "Surprise"
    assert read_emotion("It shows discomfort.").value == "Sadness"
    assert read_emotion("He is displeased.").value == "Anger"


def test_negation_is_a_substring_even_in_now() -> None:
    assert without_negated_sentences("He is happy now. He is sad.") == "He is sad."


def test_adjectives_such_as_sad_and_angry_are_not_known() -> None:
    assert read_emotion("She is sad and angry.").value == "Happiness"


def test_all_sentences_negated_takes_the_whole_text() -> None:
    assert read_emotion("There is no fear.").value == "Fear"


def test_a_text_without_sentence_end_is_unscored() -> None:
    assert read_emotion("Happiness").value is None
    assert read_emotion("").value is None


def test_a_line_break_before_the_first_full_stop_is_unscored() -> None:
    assert read_emotion("Happiness\nis here.").value is None


def test_rest_votes_and_ties_go_by_class_order() -> None:
    assert read_emotion("A face. Fear and worry, anger.").value == "Fear"
    assert read_emotion("A face. Fear, sadness.").value == "Sadness"


def test_abbreviations_do_not_end_a_sentence() -> None:
    assert without_negated_sentences("Dr. Lee sees no joy. Fear is here.") == "Fear is here."


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    read_emotion(text)
