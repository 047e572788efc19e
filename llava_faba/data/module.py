"""The FABA dataset and collator: LLaVA's own, with a facial prior beside every image."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llava.constants import IGNORE_INDEX
from llava.train.train import DataCollatorForSupervisedDataset, LazySupervisedDataset

from llava_faba.data.lengths import LengthCounter, length_problems
from llava_faba.data.priors import NumpyPriors, PriorSource, StoredPriors
from llava_faba.data.records import Problem, find_problems, report
from llava_faba.errors import RecordError
from llava_faba.images import refuse_programs
from llava_faba.priors.store import PriorStore
from llava_faba.priors.verify import check_pictures
from llava_faba.records.training import read_records
from llava_faba.watchdog import outlive_termination

_PICTURES_COMPARED = 256  # with what the store's priors were made from, when training starts
_SHOWN = 600  # characters of a record's text in an error


class FabaDataset(LazySupervisedDataset):
    """LLaVA's supervised dataset over FABA records.

    Items carry ``facial_prior``, float32 (prior size,), when any record has a prior; zeros for a record without one.
    Token ids, labels and images are made by LLaVA's code. ``prior_size`` is None when no record has a prior.

    Raises RecordError at construction, listing every faulty record, unless ``data_args.skip_bad_records``.
    """

    def __init__(self, data_path: str, tokenizer: Any, data_args: Any) -> None:
        # Not upstream's own __init__, which would read the file a second time and hold both for a moment; nor does its
        # json.load say which file and line is broken.
        torch.utils.data.Dataset.__init__(self)
        self.tokenizer, self.data_args = tokenizer, data_args
        records = read_records(data_path)
        folder = Path(data_args.image_folder or ".")
        store = getattr(data_args, "facial_prior_store", None)
        well_formed = [record for record in records if isinstance(record, dict)]
        outside = getattr(data_args, "allow_outside", False)
        self.priors: PriorSource = (
            StoredPriors(PriorStore.open(store)) if store else NumpyPriors(folder, well_formed, allow_outside=outside)
        )
        self.list_data_dict = records
        self._is_prepared = False  # in each loader process
        self._keep_sound(find_problems(records, folder, self.priors, allow_outside=outside))
        if isinstance(self.priors, StoredPriors):  # a sample, unless asked for all
            compare_all = getattr(data_args, "facial_prior_compare_all", False)
            images = [record["image"] for record in self.list_data_dict if "image" in record]
            check_pictures(self.priors.store, images, folder, at_most=None if compare_all else _PICTURES_COMPARED)

    @property
    def prior_size(self) -> int | None:
        return self.priors.size

    def all_priors(self) -> np.ndarray:
        """The priors of all records that have one, float32 (n, prior size)."""
        found = [self.priors.get(record) for record in self.list_data_dict]
        return np.stack([prior for prior in found if prior is not None])

    def check_lengths(self, picture: int) -> None:
        """Find the records whose answers do not fit into the model's input, of which an image takes ``picture``
        positions. Raises RecordError, as at construction."""
        counter = LengthCounter(self.tokenizer, self.data_args, picture)
        skip = bool(getattr(self.data_args, "skip_bad_records", False))
        self._keep_sound(length_problems(self.list_data_dict, counter, all_of_them=skip))

    def _keep_sound(self, problems: list[Problem]) -> None:
        """Raises RecordError where records have problems, or leaves those records out, as --skip_bad_records asks."""
        if not problems:
            return
        # Places in the file, of which an earlier check may have left out some.
        places = getattr(self, "_places", None) or list(range(len(self.list_data_dict)))
        text = report(self.data_args.data_path, [replace(one, position=places[one.position]) for one in problems])
        if not getattr(self.data_args, "skip_bad_records", False):
            raise RecordError(
                f"{text}\nMend them ('llava-faba data validate' shows all that it can tell without a model), or pass "
                "--skip_bad_records True."
            )
        # LLaVA's rank0_print asks a number that newer releases of transformers leave at -1, and is then silent.
        if int(os.environ.get("RANK", 0)) == 0:
            print(f"{text}\nLeft out, as --skip_bad_records asks.", flush=True)
        bad = {problem.position for problem in problems}
        kept = [place for place in range(len(self.list_data_dict)) if place not in bad]
        if not kept:
            raise RecordError(f"{text}\nNo record is left.")
        self._places = [places[place] for place in kept]
        self.list_data_dict = [self.list_data_dict[place] for place in kept]

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        if not self._is_prepared and torch.utils.data.get_worker_info() is not None:
            outlive_termination()
            self._is_prepared = True
        try:
            self._refuse_programs(i)
            item = super().__getitem__(i)
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a broken image
            record = self.list_data_dict[i]
            raise RecordError(
                f"{self.data_args.data_path}, record {i} ({record.get('id', 'no id')}), image "
                f"{record.get('image')}: {error}. Run 'llava-faba data validate' to find all such records."
            ) from error
        if not (item["labels"][: self.tokenizer.model_max_length] != IGNORE_INDEX).any():
            raise RecordError(self._nothing_to_learn(i, item["labels"]))
        if self.prior_size is not None:
            prior = self.priors.get(self.list_data_dict[i])
            item["facial_prior"] = torch.zeros(self.prior_size) if prior is None else torch.from_numpy(prior)
        return item

    def _refuse_programs(self, i: int) -> None:
        """LLaVA opens what Pillow opens; a picture that would start a program is not given to it."""
        image = self.list_data_dict[i].get("image")
        if isinstance(image, str):
            refuse_programs(Path(self.data_args.image_folder or ".", image))

    def _nothing_to_learn(self, i: int, labels: torch.Tensor) -> str:
        """Upstream prints 'tokenization mismatch' or nothing, and trains on a loss that is not a number."""
        record = self.list_data_dict[i]
        if (labels != IGNORE_INDEX).any():
            reason = (
                f"its text has {len(labels)} tokens and is cut at --model_max_length "
                f"{self.tokenizer.model_max_length}, before the answer; shorten it or raise that limit"
            )
        else:
            reason = (
                "tokenization mismatch: the conversation template does not find the answers in this text; look for an "
                "end token or a template's separator in it, and check --version"
            )
        text = " | ".join(f"{turn['from']}: {turn['value']}" for turn in record["conversations"])
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
        return (
            f"{self.data_args.data_path}, record {i} ({record.get('id', 'no id')}): every token is masked, there is "
            f"nothing to learn: {reason}. The text: {shown}"
        )


class FabaCollator(DataCollatorForSupervisedDataset):
    """LLaVA's collator; batches carry ``facial_priors``, float32 (batch, prior size), one row per image.

    ``with_priors``: set to False for a model without a prior, which does not take them.
    """

    with_priors: bool = True

    def __call__(self, instances: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        batch = super().__call__(instances)
        if self.with_priors and "facial_prior" in instances[0]:
            batch["facial_priors"] = torch.stack([instance["facial_prior"] for instance in instances])
        return batch


def wrap_make_supervised_data_module(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Replace ``llava.train.train.make_supervised_data_module``; returns what upstream's returns, with our classes."""

    @functools.wraps(original)
    def make_supervised_data_module(tokenizer: Any, data_args: Any) -> dict[str, Any]:
        return {
            "train_dataset": FabaDataset(tokenizer=tokenizer, data_path=data_args.data_path, data_args=data_args),
            "eval_dataset": None,
            "data_collator": FabaCollator(tokenizer=tokenizer),
        }

    return make_supervised_data_module
