"""The floors: what a constant and a random answer score."""

from __future__ import annotations

from llava_faba.demo.floors import majority_answers, random_answers


def record(text: str) -> dict:
    return {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": text}]}


EVALUATION = [{"id": f"e{number}"} for number in range(50)]


def test_majority_emotion_is_the_most_frequent_class():
    train = [record("The face is angry. It shows."), record("A happy face."), record("This face is annoyed.")] + [
        record("The person looks fearful, in fear.")
    ] * 3
    answers = majority_answers(train, EVALUATION, "emotion")
    assert {answer["text"] for answer in answers} == {"The person looks fearful, in fear."}
    assert [answer["question_id"] for answer in answers] == [e["id"] for e in EVALUATION]


def test_majority_au_answer_overlaps_best_with_all_training_answers():
    train = [record("AU1. AU2."), record("AU1."), record("AU1. AU4."), record("AU12. AU25."), record("AU6.")]
    answers = majority_answers(train, EVALUATION, "au")
    assert {answer["text"] for answer in answers} == {"AU1."}


def test_random_answers_are_training_answers_and_follow_the_seed():
    train = [record(f"answer {number}") for number in range(20)]
    first, again, other = (random_answers(train, EVALUATION, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len({answer["text"] for answer in first}) > 5
    assert all(answer["text"].startswith("answer ") for answer in first)
