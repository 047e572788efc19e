"""Twelve AU scores from MediaPipe's blendshapes: an expert whose prior is no landmarks, in thirty lines.

The pairs are the obvious ones by name and anatomy (mouthSmile, zygomatic major, AU12); left and right are averaged. It
shows the interface; how good such scores are was not measured.
"""

from collections.abc import Sequence

import numpy as np

from llava_faba.experts import Picture, PriorExpert, PriorResult, create_expert
from llava_faba.experts.face_landmarker.names import BLENDSHAPES

PAIRS = {
    1: ["browInnerUp"], 2: ["browOuterUpLeft", "browOuterUpRight"], 4: ["browDownLeft", "browDownRight"],
    5: ["eyeWideLeft", "eyeWideRight"], 6: ["cheekSquintLeft", "cheekSquintRight"],
    7: ["eyeSquintLeft", "eyeSquintRight"], 9: ["noseSneerLeft", "noseSneerRight"],
    12: ["mouthSmileLeft", "mouthSmileRight"], 15: ["mouthFrownLeft", "mouthFrownRight"],
    17: ["mouthShrugLower"], 25: ["mouthUpperUpLeft", "mouthLowerDownLeft"], 26: ["jawOpen"],
}  # fmt: skip
COLUMNS = [[BLENDSHAPES.index(name) for name in names] for names in PAIRS.values()]


class AuShapesExpert(PriorExpert):
    name = "au-shapes-12"
    size = len(PAIRS)
    version = "1"  # another one whenever equal pictures would give other numbers
    in_workers = True  # runs on a CPU core: extraction may run one in each worker process

    def __init__(self) -> None:
        self._shapes = create_expert("blendshapes-52")
        self.weights_licence = self._shapes.weights_licence

    def missing(self) -> str | None:
        return self._shapes.missing()

    def extract(self, pictures: Sequence[Picture]) -> PriorResult:
        found = self._shapes.extract(pictures)  # zeros and a status where there is no face
        scores = np.stack([found.features[:, columns].mean(axis=1) for columns in COLUMNS], axis=1)
        return PriorResult(scores.astype(np.float32), found.statuses)
