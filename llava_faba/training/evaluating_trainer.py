"""A trainer that validates while it trains, keeps the best checkpoint, and draws the curves at the end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from llava_faba.training.curves import draw_curves
from llava_faba.training.evaluation import BEST_FOLDER, BEST_KEY, FabaEvaluation
from llava_faba.training.saving import saved_for_use, write_checkpoint


def evaluating_trainer(original: Any) -> Any:
    """LLaVATrainer with the flags ``--faba_eval_*`` at work."""

    class EvaluatingTrainer(original):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._evaluation: FabaEvaluation | None = None
            self._evaluated_step = 0
            if self.args.faba_eval_annotations is not None:
                self._evaluation = FabaEvaluation(
                    self.args, self.train_dataset.data_args, self.model.config, self.train_dataset.tokenizer
                )

        def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
            # Before saving, so that a checkpoint's history holds the scores of its own step.
            if self._evaluation is not None and self._is_due():
                self._evaluated_step = self.state.global_step
                self._evaluate_faba(self._evaluation)
            super()._maybe_log_save_evaluate(*args, **kwargs)

        def save_state(self) -> None:
            super().save_state()
            if self.args.should_save:
                draw_curves(self.state.log_history, Path(self.args.output_dir))

        def _is_due(self) -> bool:
            step = self.state.global_step
            regular = step % self.args.faba_eval_steps == 0 or step == self.state.max_steps
            return regular and step not in (0, self._evaluated_step)

        def _evaluate_faba(self, evaluation: FabaEvaluation) -> None:
            # Known from the history, which a resumed run brings along.
            best = max((entry[BEST_KEY] for entry in self.state.log_history if BEST_KEY in entry), default=None)
            with self.compute_loss_context_manager():
                scores = evaluation.run(_language_model(self.model), self.state.global_step)
            due = self.control.should_log  # logging takes the mark off, and the loss of this step is not logged yet
            self.log(scores)
            self.control.should_log = due
            if BEST_KEY in scores and (best is None or scores[BEST_KEY] > best):
                self._keep_best(scores)

        def _keep_best(self, scores: dict[str, float]) -> None:
            folder = Path(self.args.output_dir) / BEST_FOLDER
            draft = folder.with_name(f".{BEST_FOLDER}")
            if self.args.should_save:
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir(parents=True)
            with saved_for_use(self.model):
                write_checkpoint(self, draft)
            if self.args.should_save:
                content = {"step": self.state.global_step, **scores}
                (draft / "faba_eval.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
                _put_in_place(draft, folder)

    return EvaluatingTrainer


def _put_in_place(draft: Path, folder: Path) -> None:
    """At every moment one of the two checkpoints is whole, whatever happens to the process."""
    former = folder.with_name(f".{folder.name}-former")
    shutil.rmtree(former, ignore_errors=True)
    if folder.exists():
        folder.replace(former)
    draft.replace(folder)
    shutil.rmtree(former, ignore_errors=True)


def _language_model(model: Any) -> Any:
    """LLaVA's model with LoRA layers in place; PEFT's wrapper takes no positional arguments."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
