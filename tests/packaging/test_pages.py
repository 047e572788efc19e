"""What pages and messages say about installing: versions, commands, and links that lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from datetime import date

import pytest
from packaging.version import Version
from support import ROOT, tool

from llava_faba._version import __version__
from llava_faba.packages import PACKAGES, install_command

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [path for folder in ("llava_faba", "eval", "tools", "scripts") for path in (ROOT / folder).rglob("*.py")]
EXTRAS = sorted({extra for row in PACKAGES for extra in row.extras})
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def table(heading: str, text: str) -> list[list[str]]:
    """The cells of the first table below a heading of install.md."""
    lines = text.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def test_the_page_names_each_extras_packages_with_their_lowest_versions():
    rows = table("Lowest versions", (ROOT / "docs" / "install.md").read_text(encoding="utf-8"))
    named = {extra.strip("`"): set(brings.split(", ")) for extra, _, brings in rows}
    assert set(named) == {"(base)", *EXTRAS} and len(rows) == len(named)
    for extra, packages in named.items():
        wanted = [row for row in PACKAGES if extra in row.extras or (extra == "(base)" and not row.extras)]
        assert packages == {row.requirement.replace(">=", " ") for row in wanted}, extra


def test_brackets_in_commands_are_quoted():
    """Shells read them as patterns: zsh refuses, bash takes what happens to match."""
    unquoted, count = [], 0
    for path in [*PAGES, *SOURCES]:
        text = re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8"))  # strings that go over lines
        for command in re.findall(r"pip install[^`\n]*", text):
            count += "[" in command
            if re.search(r"""(?<!['\w.-])[\w.-]*\w\[[\w,-]+\]""", command.replace("\\", "")):
                unquoted.append(f"{path.relative_to(ROOT)}: {command}")
    assert unquoted == [] and count > 5


def test_each_recipe_has_a_test_in_tools():
    """'make recipes' types them; here, that none is without one and none is tested that no page names."""
    recipes = tool("recipes")
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    found = recipes.commands(page)
    assert len(found) == 4 and all("WHEEL" in command for command in found.values())
    first = shlex.split(found["LLaVA with its own pins"])
    assert " ".join(first) in (ROOT / "README.md").read_text(encoding="utf-8").replace("'", "")
    with pytest.raises(SystemExit, match="no test of the recipe"):
        recipes.commands(page + "| with conda | `conda run pip install WHEEL` |\n")


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_command_that_messages_name_brings_the_extra(extra):
    words = shlex.split(install_command(extra))
    assert words[:2] == ["pip", "install"]
    assert set(words[2:]) - {"numpy<2"} == {row.requirement for row in PACKAGES if extra in row.extras}


def test_the_changelog_dates_its_versions_and_the_package_is_the_next_one():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings[0] == "Unreleased" and len(set(headings)) == len(headings)
    dated = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", heading) for heading in headings[1:]]
    assert dated and all(dated), headings
    versions, dates = [Version(one[1]) for one in dated], [date.fromisoformat(one[2]) for one in dated]
    assert versions == sorted(versions, reverse=True) and dates == sorted(dates, reverse=True)
    assert versions[0] <= Version(__version__) and (
        versions[0] == Version(__version__) or __version__.endswith(".dev0")
    )


def test_every_relative_link_leads_to_a_file_and_a_heading():
    broken = []
    count = 0
    for page in PAGES:
        for target in LINK.findall(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)):
            if re.match(r"[a-z]+:", target):
                continue
            count += 1
            name, _, anchor = target.partition("#")
            file = page.parent / name if name else page
            if not file.exists() or (anchor and anchor not in headings(file)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == [] and count > 30


def headings(page) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_an_index_shows_readme_with_whole_addresses():
    command = [sys.executable, "setup.py", "--quiet", "--url", "--long-description"]
    shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    url, _, page = shown.partition("\n")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    relative = [target for target in LINK.findall(readme) if not re.match(r"[a-z]+:|#", target)]
    assert len(relative) > 20 and "docs/images/demo-report.png" in relative
    shown_links = LINK.findall(page)
    assert all(re.match("https://|#", target) for target in shown_links)
    for target in relative:
        kind = "raw" if target.endswith(".png") else "blob"
        assert f"{url}/{kind}/main/{target}" in shown_links
    assert LINK.sub("", page).strip() == LINK.sub("", readme).strip()
