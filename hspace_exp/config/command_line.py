"""What every command does before and around its work: start without torch, errors on one line."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hspace_exp.config.schema import register
from hspace_exp.errors import UserError, unknown

# Read when torch is imported: threads that wait by spinning make a shared CPU many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_PACKAGE = Path(__file__).resolve().parents[1]
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
WRONG, INTERRUPTED = 2, 130  # exit codes
KNOWN = (UserError, HydraException, OmegaConfBaseException, OSError)

# Launchers and sweepers that other packages bring → the extra with them.
EXTRAS = dict.fromkeys(("joblib", "submitit_local", "submitit_slurm"), "sweep") | {"ray": "ray", "optuna": "optuna"}
_PROMPT = re.compile(r"attribute\.(.+\.)?(positive|neutral|words|adjective|concept)")
_PLACE = re.compile(r"name|paths\.cache|hydra\.(run|sweep)\.dir|model\.(source|path)|.+\.(weights|checkpoint)")
_NO_NAME = re.compile(r"null|true|false|nan|inf|[\d.+-].*|[\[{].*", re.IGNORECASE)  # what YAML reads as no text
_NOISE = ("full_key:", "object_type=", "reference_type=", "See ", "Value '$VALUE'", "invalid literal", "None")
_CHOICES = re.compile(r"Available options in '[^']+':\n((?:\t\S+\n)*)")
_NO_CHOICE = re.compile(r"Could not (?:find|load) '([^']+)/([^'/]*)'")
_NO_KEY = re.compile(r"Could not override '([^'@]+)'|Key '[^']+' (?:is not in struct|not in '\w+')\s+full_key: (\S+)")


@contextmanager
def importing() -> Iterator[None]:
    """While thousands of modules are imported: none of what they make is garbage, and looking for it takes long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def exit_code(work: Callable[[], int | None]) -> int:
    """Do a command's work and return its exit code; wrong input (2) and Ctrl-C (130) are one line on stderr."""
    try:
        code = work() or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        stop_printing()
        return 0
    except KNOWN as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


def quoted(override: str, swept: bool = False) -> str:
    """An override with its value in quotes where Hydra's grammar would read something else, or nothing at all.

    Prompts and folders are taken as they are; of other values those that are no list or mapping and do not parse, as
    "…/seed=0/concepts". What is in quotes already is Hydra's to read; so are lists of values where some are ``swept``.
    """
    key, equals, value = override.partition("=")
    prompt, place = (pattern.fullmatch(key.lstrip("+")) for pattern in (_PROMPT, _PLACE))
    exact = prompt or (place and value != "null")
    try:
        read = OverridesParser.create().parse_override(override)
        left = not exact or (swept and read.is_sweep_override()) or read.value() == value
    except HydraException:
        left = not equals or (not exact and value[:1] in "'\"[{$")
    if left or value.startswith("${") or re.fullmatch(r"""(['"]).*\1""", value, re.DOTALL):
        return override
    escaped = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + (r"\'" if m[2] else ""), value)
    return f"{key}='{escaped}'"


def choices(group: str) -> list[str]:
    """Names of a group's files in conf/."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def composed(overrides: Sequence[str] = (), config_name: str = "config", **options: Any) -> DictConfig:
    """A configuration of conf/, inside or outside of a running Hydra; ``options`` are those of Hydra's ``compose``.

    Raises UserError: an override is wrong.
    """
    try:
        return _composed(overrides, config_name, **options)
    except Exception as error:  # Hydra lets pass what YAML, codecs and Python say of files and values
        raise uncomposed(error, overrides, config_name) from error


def _composed(overrides: Sequence[str], config_name: str, **options: Any) -> DictConfig:
    register()
    running = GlobalHydra.instance().is_initialized()
    with nullcontext() if running else initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(config_name, list(overrides), **options)


def uncomposed(error: Exception, overrides: Sequence[str], config_name: str = "config") -> UserError:
    """What was wrong with overrides, or the files that they name, of which no configuration could be composed."""
    if isinstance(error, KNOWN):
        return UserError(one_line(error, config_name, overrides))
    for key, equals, value in (one.lstrip("+").partition("=") for one in overrides):
        if equals and "." not in key and (CONF / key).is_dir() and _NO_NAME.fullmatch(value):
            return unknown(key, value, choices(key))
    text = _joined(f"{type(error).__name__}, {error}")[:300]  # libraries say a lot
    return UserError(f"the configuration cannot be composed ({text}): look at the last file or key that was changed")


def one_line(error: BaseException, config_name: str = "config", overrides: Sequence[str] | None = None) -> str:
    """What the user is told: the deepest error that says what to do, on one line.

    An unknown key is compared with those of the configuration ``config_name`` under the ``overrides``, by default those
    of the command line.
    """
    links = [error]
    while (cause := links[-1].__cause__ or links[-1].__context__) is not None:
        links.append(cause)
    for link in links:
        if isinstance(link, UserError):
            return _joined(str(link))
    text = "\n".join(str(link) for link in links)
    choice, key = _NO_CHOICE.search(text), _NO_KEY.search(text)
    if choice and choice[1] in ("hydra/launcher", "hydra/sweeper") and choice[2] in EXTRAS:
        extra = f"-e '.[{EXTRAS[choice[2]]}]'"
        how = f"pip install {extra}, or after make install .bootstrap/bin/uv pip install --python .venv {extra}"
        return f"{choice[1]}={choice[2]} is not installed: in the checkout, {how}"
    if choice:
        listed = _CHOICES.search(text)
        return str(unknown(choice[1], choice[2], listed[1].split() if listed else []))
    if key:
        return unknown_key(key[1] or key[2], config_name, sys.argv[1:] if overrides is None else overrides)
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        place = f" {error.filename}" if error.filename else ""
        reason = _joined(error.strerror or str(error))
        return f"cannot use{place}: {reason}; choose another place, for runs by hydra.run.dir=… or paths.cache=…"
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(_NOISE)]
    return _joined(" ".join(dict.fromkeys(lines)))


def unknown_key(key: str, config_name: str, overrides: Sequence[str]) -> str:
    """The message for a dotted key that the configuration does not have."""
    node: object = _defaults(config_name, overrides)
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


def _defaults(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The configuration with the choices of groups among some overrides alone, whether or not Hydra is running."""
    pairs = [argument.split(",")[0].split("=") for argument in overrides]  # of several that are swept, the first
    choices = ["=".join(pair) for pair in pairs if len(pair) == 2 and (CONF / pair[0].lstrip("+")).is_dir()]
    try:
        return _composed(choices, config_name)
    except HydraException:  # a choice of another command's
        return _composed((), config_name)


def _joined(text: str) -> str:
    return " ".join(text.split())
