"""Errors of the command line and of configuration files, each as one line that names the key and the choices."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hspace_exp.errors import UserError, unknown
from hspace_exp.sweeps.launchers import EXTRAS, not_installed

_PACKAGE = Path(__file__).resolve().parents[1]
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
KNOWN = (UserError, HydraException, OmegaConfBaseException, OSError)

_NOISE = ("full_key:", "object_type=", "reference_type=", "See ", "Value '$VALUE'", "invalid literal", "None")
_CHOICES = re.compile(r"Available options in '[^']+':\n((?:\t\S+\n)*)")
_NO_CHOICE = re.compile(r"Could not (?:find|load) '([^']+)/([^'/]*)'")
_NO_KEY = (
    re.compile(r"Could not override '([^'@]+)'"),
    re.compile(r"Key '[^']+' (?:is not in struct|not in '\w+')\s+full_key: (\S+)"),
)


def one_line(error: BaseException, config_name: str = "config") -> str:
    """What the user is told: the deepest error that says what to do, on one line.

    Args:
        error: what was raised.
        config_name: root of the configuration, whose keys are the choices.
    """
    links = list(_chain(error))
    for link in links:
        if isinstance(link, UserError):
            return _joined(str(link))
    text = "\n".join(str(link) for link in links)
    choice = _NO_CHOICE.search(text)
    if choice and choice[1] == "hydra/launcher" and choice[2] in EXTRAS:
        return not_installed(choice[2])
    if choice:
        listed = _CHOICES.search(text)
        return str(unknown(choice[1], choice[2], listed[1].split() if listed else []))
    keys = [found[1] for found in (pattern.search(text) for pattern in _NO_KEY) if found]
    if keys:
        return unknown_key(keys[0], config_name)
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        place = f" {error.filename}" if error.filename else ""
        reason = _joined(error.strerror or str(error))
        return f"cannot use{place}: {reason}; choose another folder with hydra.run.dir=… or paths.cache=…"
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(_NOISE)]
    return _joined(" ".join(dict.fromkeys(lines)))


def unknown_key(key: str, config_name: str = "config") -> str:
    """The message for a dotted key that the default configuration does not have."""
    node: object = _defaults(config_name)
    parent = ""
    for name in key.split("."):
        if not isinstance(node, DictConfig) or name not in node:
            choices = [str(k) for k in node] if isinstance(node, DictConfig) else []
            return str(unknown(f"key of {parent}" if parent else "key", name, choices))
        node, parent = node._get_node(name), f"{parent}.{name}" if parent else name
    return f"{key} cannot be set here: only other choices of its group have it"


def stop_printing() -> None:
    """After a ``BrokenPipeError``, as of ``| head``: Python would complain again when it closes stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _defaults(config_name: str) -> DictConfig:
    """The configuration without any override, whether or not Hydra is running."""
    if GlobalHydra.instance().is_initialized():
        return compose(config_name)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(config_name)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _joined(text: str) -> str:
    return " ".join(text.split())
