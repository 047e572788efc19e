"""Every case that was reported has its test, three variants at least, its input, and a line in docs/field-cases.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FIELD = TESTS / "data" / "field"
DOCUMENT = (TESTS.parent / "docs" / "field-cases.md").read_text(encoding="utf-8")
ANSWERS, READINGS = "field/test_field_answers.py", "field/test_field_readings.py"
LABELS, TABLES = "field/test_label_files.py", "datatools/test_label_tables.py"
ASKING, RECORDS, TRAINING = "field/test_asking.py", "field/test_records.py", "field/test_training.py"
PAIRS, SERVERS = "field/test_import_pairs.py", "datatools/annotate/test_servers.py"
# case: its test, then where its variants are (a file whose tests or parameters are three and more)
CASES = {
    "annotation_server.py": (
        "field/test_annotation.py::test_a_habit_changes_no_label_and_costs_nothing_twice",
        SERVERS,
    ),
    "annotate-exif": ("field/test_annotation.py::test_annotate_exif_both_photographs_are_sent_upright", SERVERS),
    "a picture replaced": (
        "priors/test_identity.py::test_a_picture_that_changed_under_its_name_is_extracted_again",
        "priors/test_identity.py",
    ),
    "a picture replaced, align": (
        "align/test_identity.py::test_photographs_that_changed_places_are_aligned_again",
        "priors/test_identity.py",
    ),
    "same-stem": (f"{PAIRS}::test_two_pictures_of_one_stem", PAIRS),
    "two-landmarks": (f"{PAIRS}::test_two_files_for_one_picture", PAIRS),
    "train-max-length": (f"{TRAINING}::test_answers_behind_the_limit_of_what_the_model_sees", TRAINING),
    "template": (f"{TRAINING}::test_the_template_of_training_is_stored_and_used", ASKING),
    "cut answers": (f"{ASKING}::test_cut_answers_are_counted_and_marked", ASKING),
    "resume": (f"{TRAINING}::test_going_on_with_another_setting_is_refused_by_its_name", "training/test_resume.py"),
    "train-turns": (
        f"{RECORDS}::test_train_turns_are_refused_by_training_as_by_validate",
        "datatools/test_validate.py",
    ),
    "peft-newer": (
        "vetting/test_damaged.py::test_the_adapter_config_of_a_newer_peft_loads",
        "vetting/test_damaged.py",
    ),
    "score-think": (
        f"{ANSWERS}::test_thoughts_are_no_part_of_a_strict_answer_and_are_counted",
        "faba_bench/test_bench_thoughts.py",
    ),
    "score-emotion-yes-no": (f"{ANSWERS}::test_one_value_a_label_is_read_by_its_structure", READINGS),
    "score-au-openface": (f"{ANSWERS}::test_one_value_a_label_is_read_by_its_structure", READINGS),
    "score-au-no-because": (f"{ANSWERS}::test_one_value_a_label_is_read_by_its_structure", READINGS),
    "answers.json": (f"{READINGS}::test_reading", READINGS),
    "score-chinese-emotion": (
        f"{ANSWERS}::test_rouge_of_a_text_without_latin_words_has_no_value",
        "faba_bench/test_bench_strict_rouge.py",
    ),
    "rafdb-duplicates": (f"{LABELS}::test_rafdb_duplicates_contradicting_rows_are_an_error_that_names_both", TABLES),
    "gft-duplicate-frame": (f"{LABELS}::test_gft_duplicate_frame_names_the_lines_and_the_units_that_differ", TABLES),
    "disfa-gap": (f"{LABELS}::test_disfa_gap_a_stray_image_moves_no_label_and_is_named", TABLES),
    "gft-partition-word": (f"{LABELS}::test_gft_partition_word_the_first_line_is_not_taken_for_a_header", TABLES),
    "emotionet-blank": (f"{LABELS}::test_emotionet_blank_is_not_coded", TABLES),
    "bp4d-appledouble": (f"{LABELS}::test_bp4d_appledouble_files_are_passed_over", TABLES),
    "rafdb-bom": (f"{LABELS}::test_rafdb_bom_the_first_row_is_read", TABLES),
    "json-bom": (f"{RECORDS}::test_json_bom_is_read_everywhere", "faba_bench/files/test_jsonfiles.py"),
    "jsonl-u2028": (f"{RECORDS}::test_jsonl_u2028_is_one_record", "faba_bench/files/test_jsonfiles.py"),
    # found in the same look
    "Absent: lists": (f"{ANSWERS}::test_absent_lists_leave_perfect_answers_perfect", READINGS),
    "mix's own validation part": (
        "datatools/test_mix.py::test_a_picture_of_two_inputs_is_on_one_side_whatever_their_source",
        "datatools/test_mix.py",
    ),
    "validate knows the side": (
        "datatools/test_validate.py::test_a_validation_part_is_what_it_is_called",
        "datatools/test_validate.py",
    ),
    "compare, two versions": (
        f"{ANSWERS}::test_two_protocol_versions_and_other_labels_are_not_compared",
        "faba_bench/test_bench_compare.py",
    ),
    "--verify, an edited answer": (f"{ASKING}::test_verify_compares_texts_with_tokens", ASKING),
    "DISFA, two cameras": (f"{TABLES}::TestFrames::test_disfa_one_camera_and_it_is_named", TABLES),
    "--every without sequences": (f"{TABLES}::test_options_without_an_effect_are_refused", TABLES),
    "LLaVA's worker": ("compat/test_pictures.py::test_the_worker_pads_what_predict_pads", "compat/test_pictures.py"),
    "<image> in a question": (f"{ASKING}::test_the_images_place_inside_a_question", ASKING),
    "two workers on one port": ("serving/test_ports.py::test_the_second_controller_ends", "serving/test_ports.py"),
    "template texts": (f"{ANSWERS}::test_no_rouge_against_a_converters_own_sentences", ANSWERS),
}


def found_in(file: str) -> dict[str, int]:
    """Each test of a file with how many parameter sets it names (1 without); readings: the texts of each file."""
    if file == READINGS:
        texts = sorted((FIELD / "readings").glob("*.tsv"))
        return {"test_reading": sum(len(path.read_text(encoding="utf-8").splitlines()) for path in texts)}
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse((TESTS / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            sets = [
                len(call.args[1].elts)
                for call in node.decorator_list
                if isinstance(call, ast.Call) and len(call.args) > 1 and isinstance(call.args[1], ast.List | ast.Tuple)
            ]
            found[node.name] = max([1, *sets])
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_case_has_its_test_and_variants(case: str) -> None:
    test, variants = CASES[case]
    file, _, name = test.partition("::")
    assert name.rpartition("::")[2] in found_in(file)
    assert sum(found_in(variants).values()) >= 4  # the case itself and three of our own


def test_every_input_belongs_to_a_case_and_is_documented() -> None:
    inputs = {path.name for path in FIELD.iterdir()} - {"readings", "peft-newer.json", "__pycache__"}
    assert inputs <= CASES.keys()
    names = {name.removesuffix(".py") for name in inputs if name != "annotation_server.py"}
    assert not [name for name in names if f"`{name}" not in DOCUMENT]
    for habit in ("think", "nomax", "list", "surrogate"):
        assert f"`{habit}`" in DOCUMENT
