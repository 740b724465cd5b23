"""Markdown, LaTeX, HTML, and the command."""

from __future__ import annotations

import dataclasses
import html.parser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hspace_exp.commands import start
from hspace_exp.errors import UserError
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.results.record import RunRecord
from hspace_exp.results.tables.build import Block, Cell, Table, interval, number
from hspace_exp.results.tables.columns import column
from hspace_exp.results.tables.formats import FORMATS, render
from hspace_studio.report import rendered

TABLE = Table(
    title="gender_fairness: 50 % & more",
    rows=("original", "sdid (a|b)"),
    blocks=(
        Block(
            "Fairness",
            (column("deviation_ratio"), column("background_psnr")),
            ("Deviation ratio ↓", "Background PSNR ↑"),
            ((Cell("0.700", "0.600, 0.800"), Cell("∞")), (Cell("-0.100", "-0.200, 0.000", best=True), Cell(""))),
        ),
    ),
    footers=("Command: `python -m x --a_b`", "N = 16"),
)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """One run with a record."""
    record = RunRecord(
        "e", "lwim", "avatars", "gender", 0, {"success": MetricValue(0.5, 0.4, 0.6, 16, True)}, [], {"seed": 0},
        {}, None, "CPU", {},
    )  # fmt: skip
    record.write(tmp_path / "run")
    return tmp_path


def test_markdown_is_aligned_as_plain_text() -> None:
    assert render([TABLE]).splitlines() == [
        "## gender_fairness: 50 % & more",
        "",
        "**Fairness**",
        "",
        "| Method      |          Deviation ratio ↓ |   Background PSNR ↑ |",
        "|:------------|---------------------------:|--------------------:|",
        "| original    |       0.700 [0.600, 0.800] |                   ∞ |",
        "| sdid (a\\|b) | **-0.100** [-0.200, 0.000] |                   - |",
        "",
        "- Command: `python -m x --a_b`",
        "- N = 16",
    ]


def test_markdown_shows_what_records_say_as_text() -> None:
    hostile = "x|y `z`\n# <img src=x onerror=y> [a](http://b)"
    said = dataclasses.replace(TABLE, title=hostile, rows=("original", hostile), footers=(f"Device: {hostile}",))
    text = render([said])
    assert not re.search(r"(?<!\\)<|\]\(|^# ", text, re.MULTILINE)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {4}
    assert text.splitlines()[-1].startswith("- Device: x|y `z` #")


def test_latex_escapes_and_marks() -> None:
    text = re.sub(" +", " ", render([TABLE], "latex"))
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    assert r"\caption{gender\_fairness: 50 \% \& more}" in text
    assert r"\textbf{$-$0.100} {\scriptsize [$-$0.200, 0.000]} & - \\" in text
    assert r"Method & Deviation ratio $\downarrow$ & Background PSNR $\uparrow$ \\" in text
    assert r"\texttt{python {-}m x {-}{-}a\_b}" in text
    assert r"$\infty$" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


class Balance(html.parser.HTMLParser):
    """Collects text and checks that what opens closes."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open."""
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect."""
        self.text += data


def page(table: Table) -> str:
    """A report of one table and no run."""
    group = {"table": table, "charts": [], "runs": []}
    given = {"number": number, "interval": interval, "methods": [], "images": 0, "runs": 1}
    return rendered("report.html.j2", title="Report", groups=[group], colours=(), **given)


def test_html_is_whole_and_escaped() -> None:
    text = page(TABLE)
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert "gender_fairness: 50 % & more" in parser.text
    assert "<strong>-0.100</strong> <small>[-0.200, 0.000]</small>" in text
    assert "<code>python -m x --a_b</code>" in text
    assert '<meta name="viewport" content="width=device-width,initial-scale=1">' in text
    hostile = dataclasses.replace(TABLE, title="<script>", rows=("<b>", "x"), footers=("`<i>` <u>",))
    assert re.findall("<(script|i|u)>|<th scope=.row.>(<b>)", page(hostile)) == [("script", "")]  # the page's own


def test_unknown_format_lists_the_choices() -> None:
    with pytest.raises(UserError, match=r"unknown format 'latx'\. Did you mean 'latex'\? Choices"):
        render([TABLE], "latx")


@pytest.mark.parametrize("form", FORMATS)
def test_command_writes_each_format(run_folder: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = run_folder / "deep" / "table"
    assert start(["tables", str(run_folder), "--format", form, "--out", str(out)]) == 0
    assert capsys.readouterr().out == ""
    assert start(["tables", str(run_folder), "--format", form]) == 0
    assert capsys.readouterr().out == out.read_text(encoding="utf-8")
    assert "0.500" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [["missing"], ["."], [".", "--format", "x"]])
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert start(["tables", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_unwritable_file_is_one_line(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run_folder / "file").write_text("")
    assert start(["tables", str(run_folder), "--out", str(run_folder / "file" / "table.md")]) == 2
    assert capsys.readouterr().err.startswith("error: cannot use")


def test_torch_is_never_imported(run_folder: Path) -> None:
    code = (
        "import sys; from hspace_exp.commands import start; "
        "assert start(['tables', *sys.argv[1:]]) == 0; sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run_folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "| lwim" in done.stdout
