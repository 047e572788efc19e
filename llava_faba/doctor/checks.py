"""The checks of ``llava-faba doctor``, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llava_faba.doctor import codebase, environment
from llava_faba.doctor.finding import Finding
from llava_faba.errors import UserError
from llava_faba.upstream import describe

Check = Callable[[], Iterator[Finding]]


def diagnose(model_path: str | None = None, model_base: str | None = None, *, quick: bool = False) -> list[Finding]:
    """All findings; a check that fails by itself becomes an error finding and never stops the others.

    ``model_path``: also look at this checkpoint, and at the memory that it takes; ``model_base``: its base, for LoRA.
    ``quick``: leave out the trial, which takes some seconds.
    """
    findings: list[Finding] = []
    for check in _checks(model_path, model_base, quick, findings):
        try:
            findings.extend(check())
        except Exception as error:  # whatever a broken environment throws is a finding
            name = check.__name__.strip("_")
            findings.append(
                Finding("error", name, describe(error), "install, update or remove the package that the message names")
            )
    return findings


def _checks(model_path: str | None, model_base: str | None, quick: bool, findings: list[Finding]) -> Iterator[Check]:
    yield environment.versions
    yield environment.devices
    yield codebase.llava
    yield environment.packages
    yield environment.deepspeed
    if not quick:

        def trial() -> Iterator[Finding]:
            if any(finding.level == "error" for finding in findings):
                return iter([Finding("note", "trial", "not made: what is broken above comes first")])
            from llava_faba.doctor.trial import trial as load_and_ask

            return load_and_ask()

        yield trial
    yield experts
    if model_path is not None:

        def model() -> Iterator[Finding]:
            from llava_faba.doctor.model import model as check_model

            return check_model(model_path, model_base)

        yield model


def experts() -> Iterator[Finding]:
    """Each installed expert, and whether its packages and weights are there."""
    from llava_faba.experts import create_expert, expert_names

    for name in expert_names():
        try:
            expert = create_expert(name)
            missing = expert.missing()
        except UserError as error:
            yield Finding("note", f"expert {name}", "cannot be used here", str(error))
            continue
        size = f"{expert.size or 'any number of'} numbers per face"
        details = {"size": expert.size, "usable": missing is None}
        if missing is None:
            yield Finding("ok", f"expert {name}", size, details=details)
        else:
            yield Finding("note", f"expert {name}", f"{size}, but something is missing", missing, details)
