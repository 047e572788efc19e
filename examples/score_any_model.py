"""Score any model's answers: no torch, no LLaVA. ``pip install llava-faba`` is enough."""

import faba_bench

# What was asked about: the label (AU numbers), and a coder's words for the generation score.
RECORDS = [
    {"id": "1", "image": "1.jpg", "label": "6, 12", "gpt4": "Cheeks raised (AU6), a smile (AU12).", "subject": "a"},
    {"id": "2", "image": "2.jpg", "label": "4", "gpt4": "The brows are lowered (AU4).", "subject": "b"},
    {"id": "3", "image": "3.jpg", "label": "1, 2", "gpt4": "The brows are raised: AU1, AU2.", "subject": "c"},
]  # fmt: skip

# What some model said, in its own way: prose, JSON, a denial, thoughts that are no answer.
ANSWERS = [
    {"question_id": "1", "text": '{"AU6": 1, "AU12": 1, "AU4": 0}'},
    {"question_id": "2", "text": "<think>A smile? AU12?</think>Brows lowered (AU4). The lips are not parted (AU25)."},
    {"question_id": "3", "text": "The inner brow is raised (AU1)."},
]  # fmt: skip

result = faba_bench.score("au", "faba", RECORDS, ANSWERS)
for mode in ("reference", "strict"):
    scores = result["modes"][mode]
    print(f"{mode:<10} F1 {scores['s_re']:.1f}  ROUGE-L {scores['s_ge']:.1f}  REGE {scores['s_rege']:.1f}")
for sample in result["modes"]["strict"]["samples"]:
    print(f"record {sample['question_id']}: read {sample['parsed']}")
