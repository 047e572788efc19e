"""Names of action units in the Facial Action Coding System, as models write them."""

from __future__ import annotations

import re

#: AU number -> spellings, as regular expressions over lower-case text; a space is white space or hyphens, and "~"
#: may also hold a verb ("cheeks are clearly raised").  Nothing denied fits: "the cheeks are not raised" is no name.
NAMES: dict[int, tuple[str, ...]] = {
    1: (
        r"inner (?:eye)?brows?~rais(?:er|ers|ing|ed)",
        r"rais(?:ed|ing) (?:of )?(?:the )?inner (?:eye)?brows?",
    ),
    2: (
        r"outer (?:eye)?brows?~rais(?:er|ers|ing|ed)",
        r"rais(?:ed|ing) (?:of )?(?:the )?outer (?:eye)?brows?",
    ),
    4: (r"(?:eye)?brows?~lower(?:er|ers|ing|ed)", r"lower(?:ed|ing) (?:of )?(?:the )?(?:eye)?brows?"),
    5: (r"upper (?:eye)?lids?~rais(?:er|ers|ing|ed)", r"rais(?:ed|ing) (?:of )?(?:the )?upper (?:eye)?lids?"),
    6: (r"cheeks?~rais(?:er|ers|ing|ed)", r"rais(?:ed|ing) (?:of )?(?:the )?cheeks?"),
    7: (r"(?:eye)?lids?~tighten(?:er|ers|ing|ed)", r"tighten(?:ed|ing) (?:of )?(?:the )?(?:eye)?lids?"),
    9: (r"nose~wrinkl(?:er|ers|ing|ed)", r"wrinkl(?:ed|ing) (?:of )?(?:the )?nose"),
    10: (r"upper lips?~rais(?:er|ers|ing|ed)", r"rais(?:ed|ing) (?:of )?(?:the )?upper lips?"),
    12: (
        r"lip corners?~pull(?:er|ers|ing|ed)(?![\s-]+(?:down(?:wards?)?|apart|sideways|laterally|in(?:wards?)?)\b)",
        r"pull(?:ed|ing) (?:of )?(?:the )?lip corners?(?![\s-]+down)",
    ),
    14: (r"dimplers?", r"dimpling"),
    15: (
        r"lip corners?~(?:depress(?:or|ors|ing|ed)|pulled down(?:wards?)?)",
        r"(?:depress(?:ed|ing)|pulled down(?:wards?)?) (?:of )?(?:the )?lip corners?",
    ),
    16: (r"lower lips?~depress(?:or|ors|ing|ed)", r"depress(?:ed|ing) (?:of )?(?:the )?lower lips?"),
    17: (r"chin rais(?:er|ers|ing|ed)", r"rais(?:ed|ing) (?:of )?(?:the )?chin"),
    18: (r"lips?~pucker(?:er|ers|ing|ed)?", r"pucker(?:ed|ing) (?:of )?(?:the )?lips?"),
    20: (r"lips?~stretch(?:er|ers|ing|ed)", r"stretch(?:ed|ing) (?:of )?(?:the )?lips?"),
    23: (r"lips?~tighten(?:er|ers|ing|ed)", r"tighten(?:ed|ing) (?:of )?(?:the )?lips?"),
    24: (r"lips?~press(?:or|ors|er|ing|ed)", r"press(?:ed|ing) (?:of )?(?:the )?lips?"),
    25: (r"lips?~part(?:s|ed|ing)?", r"part(?:ed|ing) (?:of )?(?:the )?lips"),
    26: (r"jaw~drop(?:s|ped|ping|per)?", r"drop(?:ped|ping) (?:of )?(?:the )?jaw"),
    27: (r"mouth stretch(?:es|er|ed|ing)?",),
    43: (r"eyes?~clos(?:ed|ure|ing|er)", r"clos(?:ed|ing) (?:of )?(?:the )?eyes?"),
}


# The gap of a "~".  No two parts match the same white space, so that it stays linear.
_VERB = r"(?:is|are|was|were|appears?|looks?|seems?)"
_BETWEEN = rf"(?:[\s-]+|\s+{_VERB}\s+(?:(?!hardly|barely|scarcely)(?:also|both|\w+ly)\s+)?)"


def _compile() -> re.Pattern[str]:
    branches = []
    for number, spellings in NAMES.items():
        joined = "|".join(spelling.replace(" ", r"[\s-]+").replace("~", _BETWEEN) for spelling in spellings)
        branches.append(f"(?P<n{number}>{joined})")
    return re.compile(rf"\b(?:{'|'.join(branches)})\b", re.IGNORECASE)


#: Finds a name; the number is in the matching group's name, see `number_of`.
NAME = _compile()


def number_of(match: re.Match[str]) -> int:
    """The AU number of a match of `NAME`."""
    return int(str(match.lastgroup)[1:])
