"""What the documentation says, as data: its pages, commands, inline code and links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.helpers import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for _, language, text in found if language in languages]


def prose(page: Path) -> str:
    """The text of a page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def commands(page: Path) -> list[str]:
    """The commands of a page's shell blocks, without comments, a line each. What && joins is several."""
    found = []
    for block in blocks(page, "bash", "sh", "shell"):
        for line in block.replace("\\\n", " ").splitlines():
            # Not shlex's own comments: joined again, the words would have other quotes than in the page.
            text = re.sub(r"(^|\s)#.*", "", line)
            found += [" ".join(part.split()) for part in text.split("&&") if part.strip()]
    return found


def inline_code(page: Path) -> list[str]:
    """The code in backticks within the text."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]


def split(command: str) -> tuple[dict[str, str], list[str]]:
    """A command as the variables that are set before it, and its words."""
    words, variables = shlex.split(command), {}
    while words and re.match(r"[A-Z_]+=", words[0]):
        name, value = words.pop(0).split("=", 1)
        variables[name] = value
    return variables, words


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", line) for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
