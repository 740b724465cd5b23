"""Errors that users read."""

from __future__ import annotations

from hspace_exp.errors import UserError, unknown


def test_unknown_names_the_nearest_and_all_choices() -> None:
    error = unknown("method", "lwin", ["original", "lwim", "sdid"])
    assert isinstance(error, UserError)
    assert isinstance(error, ValueError)
    assert str(error) == "unknown method 'lwin'. Did you mean 'lwim'? Choices: original, lwim, sdid"


def test_unknown_without_a_near_choice_does_not_guess() -> None:
    assert str(unknown("model", "zzz", iter(["avatars", "sd15"]))) == "unknown model 'zzz'. Choices: avatars, sd15"
