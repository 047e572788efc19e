"""Facial prior experts: pictures in, one float32 vector of fixed size and a status per picture out.

``base``      the interface (``PriorExpert``, and ``LandmarkExpert`` for those that place points on a face)
``registry``  experts by name, through the entry-point group ``llava_faba.experts``
``joined``    several experts as one, "a+b"
one module per expert beside them
"""

from llava_faba.experts.base import (
    FoundFace,
    Frames,
    LandmarkExpert,
    Located,
    Picture,
    PriorExpert,
    PriorResult,
    PriorStatus,
)
from llava_faba.experts.joined import JoinedExpert
from llava_faba.experts.registry import create_expert, expert_class, expert_names, part_classes, part_names

__all__ = [
    "FoundFace",
    "Frames",
    "JoinedExpert",
    "LandmarkExpert",
    "Located",
    "Picture",
    "PriorExpert",
    "PriorResult",
    "PriorStatus",
    "create_expert",
    "expert_class",
    "expert_names",
    "part_classes",
    "part_names",
]
