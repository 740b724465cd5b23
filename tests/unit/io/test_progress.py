"""Progress of long loops."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from hspace_exp.io import progress


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        """Pretend."""
        return True


def test_items_pass_unchanged() -> None:
    assert list(progress.track("abc", "letters")) == ["a", "b", "c"]


def test_no_terminal_logs_at_most_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with caplog.at_level(logging.INFO, logger="hspace_exp.io.progress"):
        assert list(progress.track(range(8), description="count")) == list(range(8))
    assert [r.getMessage() for r in caplog.records] == [
        "count: 3 of 8 done, about 2 min left",
        "count: 6 of 8 done, about 1 min left",
    ]


def test_fast_loops_log_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="hspace_exp.io.progress"):
        list(progress.track(range(100)))
    assert not caplog.records


def test_terminal_shows_nested_bars_and_ends_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    seen = [(a, b) for a in progress.track(range(2), description="outer") for b in progress.track("xy", "inner")]
    assert seen == [(0, "x"), (0, "y"), (1, "x"), (1, "y")]
    assert "outer" in screen.getvalue()
    assert "2/2" in screen.getvalue()
    assert not progress.tqdm._instances


def test_bar_is_closed_when_the_loop_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = progress.track(range(3))
    next(bar)
    with pytest.raises(KeyError):
        bar.throw(KeyError("stop"))  # type: ignore[attr-defined]
    assert not progress.tqdm._instances


def test_notebooks_show_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert list(progress.track("abc", description="letters")) == list("abc")
    assert "letters" in screen.getvalue()
