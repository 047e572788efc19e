"""Records and their priors for a training, with every problem found before it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faba_bench.files.terminal import printable

from llava_faba.data.priors import NumpyPriors, PriorSource, StoredPriors
from llava_faba.data.records import Problem, find_problems, report
from llava_faba.errors import PriorError, RecordError, UserError
from llava_faba.images import open_image
from llava_faba.native_training.config import TrainSettings
from llava_faba.native_training.encoding import Encoder
from llava_faba.priors.reading import image_size
from llava_faba.priors.store import PriorStore
from llava_faba.priors.verify import check_pictures
from llava_faba.records.training import read_records

_PICTURES_COMPARED = 256  # with what the store's priors were made from
_ENOUGH = 1000  # records with problems of length, after which the others are not looked at


class TrainingData:
    """The records of a training. Raises RecordError listing those with problems, unless they are to be left out, and
    PriorError where pictures are not those that the store's priors were made from."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings, self.folder = settings, Path(settings.image_folder)
        self.list_data_dict = read_records(settings.records)
        self.priors = priors_of(settings.priors, self.folder, self.list_data_dict, settings.allow_outside)
        if self.prior_size is None:
            raise PriorError(
                "no record has a facial prior: name a store under 'priors' (made by 'llava-faba priors extract'), or "
                "each record's .npy file under its 'landmark'."
            )
        self._places = list(range(len(self.list_data_dict)))
        self._keep_sound(
            find_problems(self.list_data_dict, self.folder, self.priors, allow_outside=settings.allow_outside)
        )
        if isinstance(self.priors, StoredPriors):
            images = [record["image"] for record in self.list_data_dict if "image" in record]
            most = None if settings.compare_all else _PICTURES_COMPARED
            check_pictures(self.priors.store, images, self.folder, at_most=most)

    @property
    def prior_size(self) -> int | None:
        return self.priors.size

    @property
    def store(self) -> PriorStore | None:
        return self.priors.store if isinstance(self.priors, StoredPriors) else None

    def check_model(self, config: Any) -> None:
        """Raise PriorError for priors that the model was not made for: of another size, or by another expert."""
        size = int(config.landmark_feature_hidden_size)
        if self.prior_size != size:
            raise PriorError(f"the records' priors have {self.prior_size} numbers, the model takes {size}.")
        expert = getattr(config, "facial_prior_expert", None)
        if self.store is not None and expert not in (None, "precomputed", self.store.expert):
            raise PriorError(
                f"{self.store.path} holds priors of '{self.store.expert}', the model was made for those of '{expert}'."
            )

    def check_lengths(self, encoder: Encoder, limit: int) -> None:
        """Raise RecordError for records whose answers do not fit into ``limit`` positions, or cannot be learnt."""
        problems = []
        for position, record in enumerate(self.list_data_dict):
            message = self._length_problem(record, encoder, limit)
            if message is not None:
                name = printable(str(record.get("id", record.get("image", "no id"))))[:200]
                problems.append(Problem(position, name, message))
                if len(problems) == _ENOUGH and not self.settings.skip_bad_records:
                    break
        self._keep_sound(problems)

    def check_mixture(self, encoder: Encoder, *, sharded: bool) -> None:
        """Raise RecordError for records without a picture where they cannot be trained on."""
        without = sum("image" not in record for record in self.list_data_dict)
        if without and (encoder.attached or sharded):
            why = "DeepSpeed's processes would wait for each other" if sharded else "an attached prior wants a picture"
            raise RecordError(f"{self.settings.records}: {without} records have no picture ({why}): leave them out.")

    def _length_problem(self, record: Mapping[str, Any], encoder: Encoder, limit: int) -> str | None:
        try:
            taught = encoder.taught(record)
            total = encoder.length(taught, self._size(record))
        except RecordError as error:
            return str(error)
        if total <= limit:
            return None
        kept = sum(label != -100 for label in taught.labels[: max(0, len(taught.labels) - (total - limit))])
        end = "its answer is gone" if kept == 0 else "its answer is cut"
        return (
            f"{total} tokens (text, picture and prior) are more than max_length {limit}: {end}, {kept} of "
            f"{taught.answer} tokens are left"
        )

    def _size(self, record: Mapping[str, Any]) -> tuple[int, int] | None:
        if "image" not in record:
            return None
        size, reason = image_size(self.folder / record["image"])
        if reason:
            raise RecordError(f"image {record['image']}: {reason}")
        return size

    def _keep_sound(self, problems: list[Problem]) -> None:
        if not problems:
            return
        text = report(self.settings.records, [replace(one, position=self._places[one.position]) for one in problems])
        if not self.settings.skip_bad_records:
            raise RecordError(
                f"{text}\nMend them ('llava-faba data validate' shows all that it can tell without a model), or set "
                "skip_bad_records: true."
            )
        if int(os.environ.get("RANK", 0)) == 0:
            print(f"{text}\nLeft out, as skip_bad_records asks.", flush=True)
        bad = {problem.position for problem in problems}
        kept = [place for place in range(len(self._places)) if place not in bad]
        if not kept:
            raise RecordError(f"{text}\nNo record is left.")
        self._places = [self._places[place] for place in kept]
        self.list_data_dict = [self.list_data_dict[place] for place in kept]


class Collator:
    """``{"record": index}`` rows to a batch, each record with its own picture and prior."""

    def __init__(self, data: TrainingData, encoder: Encoder) -> None:
        self.data, self.encoder = data, encoder

    def __call__(self, rows: Sequence[Mapping[str, int]]) -> dict[str, torch.Tensor]:
        records = [self.data.list_data_dict[row["record"]] for row in rows]
        priors: list[np.ndarray | None] = [self.data.priors.get(record) for record in records]
        pictures = [self._picture(record) for record in records]
        return self.encoder.batch(records, pictures, priors)

    def _picture(self, record: Mapping[str, Any]) -> Any:
        return None if "image" not in record else open_image(self.data.folder / record["image"], error=RecordError)


def priors_of(store: str | None, folder: Path, records: Sequence[Any], allow_outside: bool = False) -> PriorSource:
    """The store's priors, or those that the records name."""
    if store is not None:
        return StoredPriors(PriorStore.open(store))
    sound = [record for record in records if isinstance(record, dict)]
    if not folder.is_dir():
        raise UserError(f"image_folder: there is no folder {folder}")
    return NumpyPriors(folder, sound, allow_outside=allow_outside)
