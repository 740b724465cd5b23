"""Files that the pages in Markdown name exist."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "experiments/*/README.md")
    for path in ROOT.glob(pattern)
)
FOLDERS = "hspace_exp|hspace_rivals|avatars_world|conf|docs|benchmarks|experiments|tests|tables"
# A path from the root of the checkout; no address, nor what a command writes or a reader does ("# conf/…" above it).
NAMED = re.compile(rf"(?<!--out )(?<!    # )(?<![\w./:-])(?:{FOLDERS})/[\w./*=,{{}}<>-]*[\w/*]")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def spelled_out(name: str) -> list[str]:
    """``a/{b,c}.py`` → ``a/b.py`` and ``a/c.py``; ``<any>`` → ``*``."""
    parts = re.split(r"\{(.+?)\}", re.sub("<.+?>", "*", name))
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(one) for one in product(*choices)]


def missing(text: str, folder: Path) -> set[str]:
    """Paths from the root and links from a folder that lead to no file."""
    named = {one for name in NAMED.findall(text) for one in spelled_out(name) if not any(ROOT.glob(one.rstrip("/")))}
    return named | {link for link in LINK.findall(text) if not (folder / link).exists()}


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page: str) -> None:
    path = ROOT / page
    assert missing(path.read_text(encoding="utf-8"), path.parent) == set()


def test_a_name_without_a_file_is_found() -> None:
    text = "`hspace_exp/{errors,no}.py`, conf/none.yaml, docs/*.no, [a](no.png)."
    assert missing(text, ROOT) == {"hspace_exp/no.py", "conf/none.yaml", "docs/*.no", "no.png"}
    assert missing("docs/. https://x.org/docs/no.md, --out docs/no.md\n    # conf/mine.yaml", ROOT) == set()
