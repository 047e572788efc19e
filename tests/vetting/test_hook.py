"""The same care without a command of ours: LLaVA with the plugin hook, its own builder, a stranger's folder."""

from __future__ import annotations

from support import ADAPTER, edit_json, run_python

PROGRAM = f"""
from llava.model.builder import load_pretrained_model
from llava_faba.errors import CheckpointError
for base, name in ((None, "llava-v1-lora"), ("base", "llava-v1-lora"), ("base", "vicuna")):
    try:
        load_pretrained_model("{ADAPTER}", base, name, device="cpu")
    except CheckpointError as error:
        print("refused:", "peft_type" in str(error))
"""


def test_a_strangers_adapter_under_the_hook_runs_nothing(copied, mark, patched):
    edit_json(
        copied / ADAPTER / "adapter_config.json",
        peft_type="PROMPT_TUNING",
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text="x",
        num_virtual_tokens=2,
        tokenizer_name_or_path=".",
        tokenizer_kwargs={"trust_remote_code": True},
    )
    result = run_python("-c", PROGRAM, cwd=copied, path=patched)
    assert result.stdout.split("\n").count("refused: True") == 3, result.stdout + result.stderr[-2000:]
    assert not mark.exists()
