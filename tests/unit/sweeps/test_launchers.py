"""Launchers that are missing or stop."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from hydra.errors import MissingConfigException

from hspace_exp.config.command_line import EXTRAS, one_line
from hspace_exp.sweeps.launchers import settle, stopped


def test_a_missing_launcher_says_what_to_install() -> None:
    error = MissingConfigException(
        "Could not find 'hydra/launcher/ray'\n\nAvailable options in 'hydra/launcher':\n\tbasic\n"
    )
    assert "pip install -e '.[ray]'" in one_line(error)
    unknown = MissingConfigException(
        "Could not find 'hydra/launcher/rey'\n\nAvailable options in 'hydra/launcher':\n\tbasic\n"
    )
    assert one_line(unknown) == "unknown hydra/launcher 'rey'. Choices: basic"


def test_the_extras_exist() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])


def test_errors_of_launchers_are_told_from_others() -> None:
    of_ray = type("WorkerCrashedError", (Exception,), {"__module__": "ray.exceptions"})
    assert stopped(of_ray())
    assert stopped(RuntimeError())
    assert not stopped(TypeError())


def test_ray_is_let_go_of_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    ray, calls = ModuleType("ray"), []
    ray.shutdown = lambda: calls.append("shutdown")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    settle()
    assert calls == ["shutdown"]
    monkeypatch.delitem(sys.modules, "ray")
    settle()
