"""Errors that users read."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress

import pytest

from hspace_exp.errors import UserError, getting, unknown


def test_unknown_names_the_nearest_and_all_choices() -> None:
    error = unknown("method", "lwin", ["original", "lwim", "sdid"])
    assert isinstance(error, UserError)
    assert isinstance(error, ValueError)
    assert str(error) == "unknown method 'lwin'. Did you mean 'lwim'? Choices: original, lwim, sdid"


def test_unknown_without_a_near_choice_does_not_guess() -> None:
    assert str(unknown("model", "zzz", iter(["avatars", "sd15"]))) == "unknown model 'zzz'. Choices: avatars, sd15"


def hidden() -> None:
    try:
        raise RuntimeError("incomplete\n metadata")
    except RuntimeError:
        raise OSError("unable to load") from None  # as libraries hide what happened


def test_what_cannot_be_had_says_why_from_the_last_error_to_the_first() -> None:
    told = r"the file x cannot be had \(unable to load; incomplete metadata\): make it again$"
    with pytest.raises(UserError, match=told), getting("the file x", "make it again"):
        hidden()
    with pytest.raises(UserError, match=r"it cannot be had \(no such key\): try"), getting("it", "try"):
        raise ValueError("no such key")


def test_what_a_failed_attempt_held_is_closed_at_once() -> None:
    """Not when Python next looks for cycles, perhaps in the middle of something else."""
    held: list[weakref.ref[UserError]] = []

    def fail() -> None:
        socket = UserError("anything that can be referred to weakly")
        held.append(weakref.ref(socket))
        raise OSError("refused")

    gc.disable()
    try:
        with suppress(UserError), getting("x", "y"):
            fail()
        assert held[0]() is None
    finally:
        gc.enable()
