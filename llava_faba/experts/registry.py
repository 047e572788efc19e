"""Experts by name, through the entry-point group ``llava_faba.experts``.

A third party adds an expert by declaring an entry point of that group that names a subclass of ``PriorExpert``; its
module is imported when the expert is asked for. ``a+b`` is two of them side by side (``joined``).
"""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from llava_faba.errors import ExpertError, nearest
from llava_faba.experts.base import PriorExpert
from llava_faba.experts.joined import JOINT, JoinedExpert, settings_of_part

GROUP = "llava_faba.experts"


def _declared() -> dict[str, EntryPoint]:
    declared: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        other = declared.get(point.name)
        if other is not None and other.value != point.value:
            raise ExpertError(
                f"two packages declare the facial prior expert '{point.name}': {other.value} and {point.value}; "
                "uninstall one of them."
            )
        declared[point.name] = point
    return declared


def expert_names() -> list[str]:
    """The names of all installed experts, sorted."""
    return sorted(_declared())


def expert_class(name: str) -> type[PriorExpert]:
    """The class of an expert. Raises ExpertError naming the known ones and the nearest."""
    declared = _declared()
    if name not in declared:
        raise ExpertError(
            f"no facial prior expert is called '{name}'.{nearest(name, declared)} "
            f"Installed: {', '.join(sorted(declared)) or 'none (reinstall llava-faba)'}."
        )
    try:
        found = declared[name].load()
    except ImportError as error:
        raise ExpertError(f"facial prior expert '{name}' cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, PriorExpert)):
        raise ExpertError(f"entry point {declared[name].value} of expert '{name}' is not a PriorExpert class.")
    return found


def part_names(name: str) -> list[str]:
    """The experts that a name joins by "+"; a name without that, and one that a package has declared, is its own."""
    return [name] if name in _declared() else name.split(JOINT)


def part_classes(name: str) -> list[type[PriorExpert]]:
    """The classes of the experts that a name joins, of one expert its own; nothing is made.

    Raises ExpertError as ``expert_class``, and for a name that joins an expert with itself.
    """
    names = part_names(name)
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise ExpertError(f"'{name}' joins the facial prior expert '{twice}' with itself.")
    return [expert_class(one) for one in names]


_KINDS = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,), "str | None": (str, type(None))}


def _check_kinds(name: str, cls: type[PriorExpert], arguments: dict[str, Any]) -> None:
    """Settings also come from checkpoints and stores of others: what an expert declares a number must be one."""
    for setting, parameter in inspect.signature(cls).parameters.items():
        kinds = _KINDS.get(str(parameter.annotation))
        if setting not in arguments or kinds is None:
            continue
        value = arguments[setting]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ExpertError(
                f"facial prior expert '{name}': its setting '{setting}' must be of the kind "
                f"{parameter.annotation}, not {value!r:.80}."
            )


def create_expert(name: str, settings: dict[str, Any] | None = None, *, size: int | None = None) -> PriorExpert:
    """Make an expert with the given settings.

    ``size``: the prior size that the caller needs; ``precomputed`` takes any, the others must agree.
    Raises ExpertError for an unknown expert, settings that it does not take, missing weights, or another size.
    """
    if len(part_classes(name)) == 1:
        return _create_one(name, settings or {}, size)
    return _create_joined(name, settings or {}, size)


def _create_joined(name: str, settings: dict[str, Any], size: int | None) -> PriorExpert:
    """``settings``: each under its part's name and a dot."""
    names = part_names(name)
    stray = next((key for key in settings if not any(key.startswith(f"{part}.") for part in names)), None)
    if stray is not None:
        raise ExpertError(
            f"facial prior expert '{name}' does not take the setting '{stray}': say whose it is, such as "
            f"'{names[0]}.{stray}'."
        )
    expert = JoinedExpert([_create_one(part, settings_of_part(settings, part), None) for part in names])
    return _of_size(expert, size)


def _create_one(name: str, settings: dict[str, Any], size: int | None) -> PriorExpert:
    cls = expert_class(name)
    arguments = dict(settings)
    if name == "precomputed" and size is not None:
        arguments.setdefault("size", size)
    _check_kinds(name, cls, arguments)
    try:
        expert = cls(**arguments)
    except TypeError as error:
        raise ExpertError(f"facial prior expert '{name}' does not take the settings {arguments}: {error}") from error
    return _of_size(expert, size)


def _of_size(expert: PriorExpert, size: int | None) -> PriorExpert:
    if size is not None and expert.size != size:
        raise ExpertError(
            f"facial prior expert '{expert.name}' gives {expert.size} numbers, but {size} are needed; "
            "choose the expert that made the priors."
        )
    return expert
