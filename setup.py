"""All of the metadata is in setup.cfg, but for the page that an index shows: README.md, with links that work there.

In a clone README's links are relative, so that they lead to the files beside it; an index page needs whole addresses.
They begin with ``url`` in setup.cfg.
"""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
RELATIVE = re.compile(r"(!?\[[^\]]*\]\()(?![a-z]+:|#)([^)\s]+)")  # ](target of a link or, after "!", of a picture


def index_page() -> str:
    """README.md with whole addresses in the place of relative ones."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    address = config["metadata"]["url"]

    def whole(link: re.Match[str]) -> str:
        opening, target = link.groups()
        return f"{opening}{address}/{'raw' if opening.startswith('!') else 'blob'}/main/{target}"

    return RELATIVE.sub(whole, (ROOT / "README.md").read_text(encoding="utf-8"))


setup(long_description=index_page())
