"""What a step can be. One class a kind: its typed settings, and the commands that do it."""

from __future__ import annotations

from llava_faba.recipe.kinds.base import Action, Kind, Path_, build
from llava_faba.recipe.kinds.data import Align, Blank, Convert, Mix, Priors, PriorsExport, PriorsImport, Validate
from llava_faba.recipe.kinds.demo import DemoCosts, DemoData, DemoReal, DemoRecords, DemoReport, DemoUntrained
from llava_faba.recipe.kinds.learning import Merge, ToTransformers, Train
from llava_faba.recipe.kinds.scoring import Compare, Generate, Report, Score

KINDS: dict[str, type[Kind]] = {
    "convert": Convert,
    "align": Align,
    "priors": Priors,
    "priors-import": PriorsImport,
    "priors-export": PriorsExport,
    "validate": Validate,
    "mix": Mix,
    "blank": Blank,
    "train": Train,
    "merge": Merge,
    "to-transformers": ToTransformers,
    "generate": Generate,
    "score": Score,
    "compare": Compare,
    "report": Report,
    "demo-data": DemoData,
    "demo-records": DemoRecords,
    "demo-untrained": DemoUntrained,
    "demo-real-weights": DemoReal,
    "demo-costs": DemoCosts,
    "demo-report": DemoReport,
}

__all__ = ["KINDS", "Action", "Kind", "Path_", "build"]
