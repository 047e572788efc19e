"""What a trained prior projector was trained on, and whether this run goes on with the same.

A projector has learned one expert's numbers under one normalization and its statistics. Given others, it computes
something, without a word; so what a base or a pretrained projector says of itself must be what the run asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_faba.emola.settings import REFERENCE_EXPERT, UNNAMED_EXPERT, has_prior, stands_for_reference
from llava_faba.errors import UserError
from llava_faba.vetting.prior_tokens import GLOBAL, REGIONS_KEY, kind_of

# FABA-Instruct's landmark files are the reference expert's vectors, and 'precomputed' is how they are trained on.
_REFERENCE_NAMES = {REFERENCE_EXPERT, UNNAMED_EXPERT}


@dataclass(frozen=True)
class PriorOrigin:
    """What a model folder's config.json says of the priors that its projector was trained on.

    ``where``: what it is said of, for messages ("the base model DIR").
    """

    where: str
    expert: str
    normalization: str
    statistics: Mapping[str, Any] | None
    version: str | None
    settings: Mapping[str, Any] | None
    tokens: str = GLOBAL
    regions: Sequence[Any] = ()

    @classmethod
    def of(cls, config: Any, where: str) -> PriorOrigin | None:
        """From a config object or the dict of a config.json; None for one without a facial prior."""
        if not has_prior(config):
            return None
        values = config if isinstance(config, Mapping) else vars(config)
        version = values.get("facial_prior_expert_version")
        return cls(
            where,
            values.get("facial_prior_expert") or REFERENCE_EXPERT,
            values.get("facial_prior_normalization") or "none",
            values.get("facial_prior_statistics"),
            None if version is None else str(version),
            values.get("facial_prior_expert_settings"),
            kind_of(values),
            values.get(REGIONS_KEY) or (),
        )

    def check_flags(self, expert: str, normalization: str) -> None:
        """Raise UserError, naming both, where the run's flags ask for another expert or normalization."""
        if expert != self.expert and {expert, self.expert} != _REFERENCE_NAMES:
            raise UserError(
                f"{self.where} was trained on priors of expert '{self.expert}', and --facial_prior_expert {expert} "
                f"gives others: the same places of a prior mean other things to it. Pass --facial_prior_expert "
                f"{self.expert} with its priors, or begin with a model that has no facial prior."
            )
        if normalization != self.normalization:
            raise UserError(
                f"{self.where} was trained with --facial_prior_normalization {self.normalization}, not "
                f"{normalization}: its projector would get other numbers than it has learned. Pass "
                f"--facial_prior_normalization {self.normalization}."
            )

    def check_tokens(self, tokens: str | None, regions: Sequence[Any] | None) -> None:
        """Raise UserError where the run's flags make other tokens of a prior than this was trained with."""
        wanted = tokens or GLOBAL
        if wanted != self.tokens:
            raise UserError(
                f"{self.where} was trained with --facial_prior_tokens {self.tokens}, not {wanted}: its prior projector "
                f"is another. Pass --facial_prior_tokens {self.tokens}, or begin with a model that has no facial prior."
            )
        if list(regions or ()) != list(self.regions):
            raise UserError(
                f"{self.where} was trained with other regions of the face than expert '{self.expert}' has now "
                "(facial_prior_regions in its config.json): install the release of the expert that it was trained with."
            )

    def name_for(self, expert: str) -> str:
        """The expert's name that a run's config gets, which goes on from this with ``expert``.

        The reference expert's name says which points its vectors are; 'precomputed' must not take its place.
        """
        return self.expert if stands_for_reference(expert, self.expert) else expert

    def check_same(self, other: PriorOrigin) -> None:
        """Raise UserError, naming both, where two of what a run starts from were trained on different priors."""
        other.check_flags(self.expert, self.normalization)
        other.check_tokens(self.tokens, self.regions)
        for what, mine, theirs in (
            ("statistics", self.statistics, other.statistics),
            ("versions of the expert", self.version, other.version),
        ):
            if mine != theirs and None not in (mine, theirs):
                raise UserError(
                    f"{self.where} and {other.where} were trained with different {what} of facial priors "
                    f"({_shown(mine)} and {_shown(theirs)}): give a projector that was trained together with that base."
                )

    def check_made_by(self, version: str, settings: Mapping[str, Any], source: str) -> None:
        """Raise UserError where priors were made by another version of the expert, or with other settings.

        ``settings``: without paths of weights, as ``self.settings`` are compared without those too.
        """
        if self.version is not None and str(version) != self.version:
            raise UserError(
                f"{self.where} was trained on priors of version {self.version} of expert '{self.expert}', {source} "
                f"holds those of version {version}, whose numbers differ: extract them with the version that the model "
                "was trained on."
            )
        known = self.settings or {}
        paths = {name for name in known if f"{name}_sha256" in {**known, **settings}}
        for name in sorted(known.keys() - paths):
            if name in settings and settings[name] != known[name]:
                raise UserError(
                    f"{self.where} was trained on priors of expert '{self.expert}' with {name}={known[name]!r}, "
                    f"{source} was made with {name}={settings[name]!r}: extract the priors with the model's settings "
                    f"(--set {name}=...)."
                )


def lone_file_needs_config(path: Path, normalization: str) -> None:
    """Raise UserError for a projector file that nothing says anything of, where that matters."""
    if normalization == "none":
        return
    raise UserError(
        f"{path}: no config.json of a model with a facial prior lies beside it, so that nothing says which statistics "
        f"this projector was trained with, and --facial_prior_normalization {normalization} would fit others. Copy the "
        "config.json of its training run beside it, or pass --facial_prior_normalization none for a projector of the "
        "authors."
    )


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
