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
IDENTITY = "priors/test_identity.py"
# case: its test, then its variants: tests (each with its parameters, and "tree" with six converters) of the same kind
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "annotation_server.py": (
        "field/test_annotation.py::test_a_habit_changes_no_label_and_costs_nothing_twice",
        (
            f"{SERVERS}::test_an_answer_in_another_shape_is_the_same_answer",
            f"{SERVERS}::test_other_words_for_an_unknown_field",
            f"{SERVERS}::test_half_characters_are_kept_as_a_mark_and_the_run_goes_on",
            f"{SERVERS}::test_an_answer_of_no_use_is_rejected_and_not_paid_for_again",
        ),
    ),
    "annotate-exif": (
        "field/test_annotation.py::test_annotate_exif_both_photographs_are_sent_upright",
        (
            f"{SERVERS}::test_photographs_are_sent_upright",
            f"{SERVERS}::test_an_upright_one_is_sent_as_it_is",
            f"{SERVERS}::test_an_answer_about_the_picture_on_its_side_is_not_used_for_it_upright",
        ),
    ),
    "a picture replaced": (
        f"{IDENTITY}::test_a_picture_that_changed_under_its_name_is_extracted_again",
        (
            f"{IDENTITY}::test_a_file_that_was_changed_right_after_it_was_read",
            f"{IDENTITY}::test_another_dataset_with_equal_names_is_refused",
            f"{IDENTITY}::test_mended_and_missing_pictures",
            f"{IDENTITY}::test_another_way_of_reading_pictures_is_refused",
        ),
    ),
    "a picture replaced, align": (
        "align/test_identity.py::test_photographs_that_changed_places_are_aligned_again",
        ("align/test_identity.py::test_another_photograph_under_an_old_name",),
    ),
    "same-stem": (f"{PAIRS}::test_two_pictures_of_one_stem", (f"{PAIRS}::test_names_that_leave_it_open_are_an_error",)),
    "two-landmarks": (
        f"{PAIRS}::test_two_files_for_one_picture",
        (f"{PAIRS}::test_records_that_spell_one_picture_in_two_ways",),
    ),
    "train-max-length": (
        f"{TRAINING}::test_answers_behind_the_limit_of_what_the_model_sees",
        (
            "data_module/test_lengths.py::test_what_is_passed_uncounted_is_not_cut",
            "data_module/test_lengths.py::test_the_last_token_counts",
            "data_module/test_lengths.py::test_a_picture_counts_and_text_alone_does_not",
        ),
    ),
    "template": (
        f"{TRAINING}::test_the_template_of_training_is_stored_and_used",
        (
            f"{ASKING}::test_a_model_is_asked_with_what_its_training_text_has_before_an_answer",
            f"{ASKING}::test_plain_says_that_no_question_is_asked",
            f"{ASKING}::test_an_unknown_one_in_the_checkpoint",
            f"{ASKING}::test_another_one_is_a_warning_that_says_both",
        ),
    ),
    "cut answers": (
        f"{ASKING}::test_cut_answers_are_counted_and_marked",
        ("faba_bench/test_bench_report.py::test_cut_answers_are_counted_named_and_shown",),
    ),
    "resume": (
        f"{TRAINING}::test_going_on_with_another_setting_is_refused_by_its_name",
        (
            "training/test_resume.py::test_another_run_is_not_gone_on_with",
            "training/test_resume.py::test_another_learning_rate_is_an_error_that_names_it",
            "training/test_resume.py::test_a_checkpoint_without_the_other_weights_is_an_error",
        ),
    ),
    "train-turns": (
        f"{RECORDS}::test_train_turns_are_refused_by_training_as_by_validate",
        (f"{RECORDS}::test_turns_of_other_shapes_are_refused_by_training_as_by_validate",),
    ),
    "peft-newer": (
        "vetting/test_damaged.py::test_the_adapter_config_of_a_newer_peft_loads",
        (
            "vetting/test_damaged.py::test_what_a_newer_peft_has_set_is_named",
            "vetting/test_damaged.py::test_a_key_of_the_future_at_nothing_is_let_pass",
        ),
    ),
    "score-think": (
        f"{ANSWERS}::test_thoughts_are_no_part_of_a_strict_answer_and_are_counted",
        (
            "faba_bench/test_bench_thoughts.py::test_only_the_answer_is_left",
            "faba_bench/test_bench_thoughts.py::test_thoughts_that_never_close_are_no_answer",
        ),
    ),
    "score-emotion-yes-no": (
        f"{ANSWERS}::test_one_value_a_label_is_read_by_its_structure",
        ("readings/emotion_structured",),
    ),
    "score-au-openface": (f"{ANSWERS}::test_one_value_a_label_is_read_by_its_structure", ("readings/au_structured",)),
    "score-au-no-because": (f"{ANSWERS}::test_one_value_a_label_is_read_by_its_structure", ("readings/au_prose",)),
    "answers.json": (f"{READINGS}::test_reading", ("readings/au_prose", "readings/emotion_prose")),
    "score-chinese-emotion": (
        f"{ANSWERS}::test_rouge_of_a_text_without_latin_words_has_no_value",
        (f"{ANSWERS}::test_whether_rouge_has_words_to_compare",),
    ),
    "rafdb-duplicates": (
        f"{LABELS}::test_rafdb_duplicates_contradicting_rows_are_an_error_that_names_both",
        (f"{TABLES}::test_rows_that_contradict_each_other",),
    ),
    "gft-duplicate-frame": (
        f"{LABELS}::test_gft_duplicate_frame_names_the_lines_and_the_units_that_differ",
        (f"{TABLES}::test_rows_that_contradict_each_other", f"{TABLES}::test_two_columns_of_one_unit_are_an_error"),
    ),
    "disfa-gap": (
        f"{LABELS}::test_disfa_gap_a_stray_image_moves_no_label_and_is_named",
        (
            f"{TABLES}::test_frames_are_what_is_named_alike",
            f"{TABLES}::test_frames_that_cannot_be_told_are_an_error",
            f"{TABLES}::test_disfa_is_decided_for_each_subject",
        ),
    ),
    "gft-partition-word": (
        f"{LABELS}::test_gft_partition_word_the_first_line_is_not_taken_for_a_header",
        (
            f"{TABLES}::test_a_partitions_header_is_one_by_its_words",
            f"{TABLES}::test_a_partitions_bad_line_is_named_wherever_it_stands",
        ),
    ),
    "emotionet-blank": (
        f"{LABELS}::test_emotionet_blank_is_not_coded",
        (f"{TABLES}::test_an_empty_code_is_not_coded",),
    ),
    "bp4d-appledouble": (
        f"{LABELS}::test_bp4d_appledouble_files_are_passed_over",
        (f"{TABLES}::test_hidden_files_and_other_suffixes_are_passed_over_and_named",),
    ),
    "rafdb-bom": (
        f"{LABELS}::test_rafdb_bom_the_first_row_is_read",
        (f"{TABLES}::test_a_table_in_another_form_gives_the_same_records",),
    ),
    "json-bom": (
        f"{RECORDS}::test_json_bom_is_read_everywhere",
        (
            "faba_bench/files/test_jsonfiles.py::test_annotation_files_by_content",
            "faba_bench/files/test_jsonfiles.py::test_other_encodings_are_named",
        ),
    ),
    "jsonl-u2028": (
        f"{RECORDS}::test_jsonl_u2028_is_one_record",
        (
            "faba_bench/files/test_jsonfiles.py::test_annotation_files_by_content",
            "faba_bench/test_bench_records.py::test_line_separators_inside_a_text_do_not_cut_a_json_line",
        ),
    ),
    # found in the same look
    "Absent: lists": (f"{ANSWERS}::test_absent_lists_leave_perfect_answers_perfect", ("readings/au_prose",)),
    "mix's own validation part": (
        "datatools/test_mix.py::test_a_picture_of_two_inputs_is_on_one_side_whatever_their_source",
        (
            "datatools/test_mix.py::test_a_person_of_two_inputs_is_on_one_side_whatever_their_source",
            "datatools/test_mix.py::test_pictures_are_told_apart_by_what_they_show",
            "datatools/test_mix.py::test_files_about_the_same_people_split_alike",
        ),
    ),
    "validate knows the side": (
        "datatools/test_validate.py::test_a_validation_part_is_what_it_is_called",
        (
            "datatools/test_validate.py::test_a_validation_part_is_what_it_is_called",
            "datatools/test_validate.py::test_the_side_is_the_one_that_is_given_or_that_mix_wrote",
        ),
    ),
    "compare, two versions": (
        f"{ANSWERS}::test_two_protocol_versions_and_other_labels_are_not_compared",
        (f"{ANSWERS}::test_results_of_other_things_are_not_compared",),
    ),
    "--verify, an edited answer": (
        f"{ASKING}::test_verify_compares_texts_with_tokens",
        (f"{ASKING}::test_verify_compares_texts_with_tokens", f"{ASKING}::test_verify_of_tokens_that_are_none"),
    ),
    "DISFA, two cameras": (
        f"{TABLES}::test_disfa_one_camera_and_it_is_named",
        (f"{TABLES}::test_disfa_cameras_are_never_mixed", f"{TABLES}::test_disfa_cameras_in_one_folder_are_not_mixed"),
    ),
    "--every without sequences": (
        f"{TABLES}::test_options_without_an_effect_are_refused",
        (f"{TABLES}::test_options_without_an_effect_are_refused",),
    ),
    "LLaVA's worker": (
        "compat/test_pictures.py::test_the_worker_pads_what_predict_pads",
        ("compat/test_pictures.py::test_the_worker_pads_what_predict_pads",),
    ),
    "<image> in a question": (
        f"{ASKING}::test_the_images_place_inside_a_question",
        (
            f"{ASKING}::test_the_images_place_inside_a_question",
            f"{ASKING}::test_predict_and_chat_use_it_and_warn_of_another",
        ),
    ),
    "two workers on one port": (
        "serving/test_ports.py::test_the_second_controller_ends",
        (
            "serving/test_ports.py::test_a_taken_port_is_a_sentence_before_a_model_is_loaded",
            "serving/test_ports.py::test_all_interfaces_and_one_of_them_are_one_port",
        ),
    ),
    "template texts": (
        f"{ANSWERS}::test_no_rouge_against_a_converters_own_sentences",
        (f"{ANSWERS}::test_whose_sentences_a_reference_text_is",),
    ),
    "several faces": (
        "inference/test_predict.py::test_predict_prints_which_face_was_read",
        (
            "inference/test_predict.py::test_the_library_says_which_of_several_faces_was_read",
            "cli/test_chat.py::test_of_several_faces_it_says_which_one_is_read",
            "experts/test_face_landmarker.py::test_several_faces_are_said_and_the_main_one_counts",
        ),
    ),
}


_CONVERTERS = 6  # what the fixture "tree" goes through


def found_in(file: str) -> dict[str, int]:
    """Each test of a file with how many cases it has; readings: the texts of each kind."""
    if file.startswith("readings/"):
        texts = sorted((FIELD / "readings").glob(f"{file.removeprefix('readings/')}_*.tsv"))
        return {"": sum(len(path.read_text(encoding="utf-8").splitlines()) for path in texts)}
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse((TESTS / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            calls = [call for call in node.decorator_list if isinstance(call, ast.Call) and len(call.args) > 1]
            sets = [_length(one.args[1]) for one in calls]
            named = any(argument.arg == "tree" for argument in node.args.args)
            found[node.name] = max([_CONVERTERS if named else 1, *sets])
    return found


def _length(values: ast.expr) -> int:
    """How many parameter sets a list names; one that is computed, or unpacked, counts as three."""
    if not isinstance(values, ast.List | ast.Tuple):
        return 3
    return sum(3 if isinstance(one, ast.Starred) else 1 for one in values.elts)


@pytest.mark.parametrize("case", CASES)
def test_a_case_has_its_test_and_variants(case: str) -> None:
    test, variants = CASES[case]
    counts = []
    for name in (test, *variants):
        file, _, function = name.partition("::")
        assert function in found_in(file), name
        counts.append(found_in(file)[function])
    assert sum(counts[1:]) >= 3 + (test in variants)  # three of our own beside the case itself


def test_every_input_belongs_to_a_case_and_is_documented() -> None:
    inputs = {path.name for path in FIELD.iterdir()} - {"readings", "peft-newer.json", "__pycache__"}
    assert inputs <= CASES.keys()
    names = {name.removesuffix(".py") for name in inputs if name != "annotation_server.py"}
    assert not [name for name in names if f"`{name}" not in DOCUMENT]
    for habit in ("think", "nomax", "list", "surrogate"):
        assert f"`{habit}`" in DOCUMENT
