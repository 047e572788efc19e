"""Which LLaVA this is, whether it imports, and whether it looks as llava-faba expects."""

from __future__ import annotations

from collections.abc import Iterator

from llava_faba.doctor.finding import Finding


def llava() -> Iterator[Finding]:
    from llava_faba.upstream import CODE_BASES, INSTALL_HINT, find_code_base, find_import_error, package_folder

    folder = package_folder()
    if folder is None:
        yield Finding("error", "llava", "not installed", INSTALL_HINT)
        return
    code_base = find_code_base(folder)
    details = {"code_base": code_base, "folder": str(folder)}
    cause = find_import_error()
    if cause is not None:
        remedy = "install or fix the package that the message names" if code_base in CODE_BASES else INSTALL_HINT
        yield Finding("error", "llava", cause, remedy, details)
        return  # asked once more, a half-imported transformers may tell another story
    yield Finding("ok", "llava", f"imports; code base: {CODE_BASES[code_base]}", details=details)
    yield from _seams()
    yield from _patches()


def _seams() -> Iterator[Finding]:
    from llava_faba.registration import find_mismatches, is_registered
    from llava_faba.registration.seams import SEAMS

    registered = is_registered()  # by the plugin hook, in a patched LLaVA
    mismatches = [] if registered else find_mismatches()
    details = {"expected": len(SEAMS), "found": len(SEAMS) - len(mismatches), "registered": registered}
    for mismatch in mismatches:
        yield Finding(
            "error",
            f"seam {mismatch.seam}",
            f"expected {mismatch.expected}, found {mismatch.found}",
            "install a LLaVA release that llava-faba supports, or take back edits of its files",
        )
    text = f"{details['found']} of {details['expected']} places that EmoLA attaches to are as expected"
    yield Finding("error" if mismatches else "ok", "seams", text, details=details)
    if not mismatches:
        yield _shims(registered)


def _shims(registered: bool) -> Finding:
    """What had to be fixed in LLaVA and its packages, seen while EmoLA is really registered."""
    from llava_faba.compat.engine import active
    from llava_faba.registration import register, unregister

    register()
    names = sorted(active())
    if not registered:
        unregister()
    return Finding("ok", "shims", ", ".join(names) or "nothing to fix with these versions", details={"active": names})


def _patches() -> Iterator[Finding]:
    from llava_faba.patching import PatchStatus, status
    from llava_faba.patching.actions import DOES_NOT_FIT

    found: list[PatchStatus] = status()
    states = {patch.name: patch.state for patch in found}
    text = ", ".join(f"{name} {state}" for name, state in states.items())
    if DOES_NOT_FIT in states.values():
        remedy = "LLaVA's files were edited; 'llava-faba patch check' says where. 'llava-faba run' needs no patch"
        yield Finding("note", "patches", text, remedy, states)
    else:
        yield Finding("ok", "patches", text, details=states)
