"""Keys and values of nodes with a ``_target_``."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from omegaconf import OmegaConf
from pydantic import Field
from torch import Tensor

from hspace_exp.config.checks import check, check_targets, plain_config
from hspace_exp.config.command_line import composed
from hspace_exp.errors import UserError

if TYPE_CHECKING:
    from decimal import Decimal


class Thing:
    """What a stranger's class may look like."""

    def __init__(
        self,
        weight: float = 1.0,
        kind: Literal["a", "b"] = "a",
        pair: tuple[int, int] = (0, 1),
        strength: float | Mapping[str, float] = 1.0,
        share: Annotated[float, Field(ge=0, le=1)] = 0.0,
        lr: float | Tensor = 0.1,
        names: Sequence[str] = (),
        path: Path | None = None,
        tensor: Tensor | None = None,
        inner: Thing | None = None,
        unset: int = None,  # type: ignore[assignment]  # noqa: RUF013
        bare=0,  # type: ignore[no-untyped-def]  # noqa: ANN001
        unseen: Decimal | None = None,
    ) -> None:
        """Do nothing."""


def open_ended(count: int = 1, **others: Any) -> None:
    """Takes anything."""


THING, OPEN = f"{__name__}.Thing", f"{__name__}.open_ended"
TRUST = (__name__, "no.such")


@pytest.mark.parametrize(
    "values",
    [
        {"weight": 1, "pair": [2, 3], "strength": {"female": 1.5}, "share": 1, "lr": 0.5, "names": ["a"], "path": "/x"},
        {"strength": -2.5, "tensor": None, "unset": None, "inner": None, "kind": "b"},
        {"inner": {"_target_": THING, "weight": 0.5}, "names": [{"_target_": THING}]},
        {"bare": "anything", "unseen": "3.5", "_partial_": True, "_convert_": "all"},
        {"tensor": "of no plain value"},  # pydantic cannot say more than that it is no tensor: the class decides
    ],
)
def test_what_fits_passes_and_stays(values: dict[str, Any]) -> None:
    node = {"method": {"_target_": THING, **values}, "list": [{"_target_": OPEN, "other": 3}]}
    before = copy.deepcopy(node)
    check_targets(node, trust=TRUST)
    assert node == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": "abc"}, "method.weight=abc: expected a valid number"),
        ({"weight": "1.5"}, "method.weight=1.5: expected a valid number"),
        ({"weight": float("inf")}, "method.weight=Infinity: expected a finite number"),
        ({"weight": float("nan")}, "method.weight=NaN: expected a finite number"),
        ({"weight": True}, "method.weight=true: expected a valid number"),
        ({"weight": None}, "method.weight=null: expected a valid number"),
        ({"kind": "c"}, "method.kind=c: expected 'a' or 'b'"),
        ({"pair": [1, 2.5]}, "method.pair=[1, 2.5]: expected a valid integer"),
        ({"pair": [1]}, "method.pair=[1]: expected "),
        ({"strength": "abc"}, "method.strength=abc: expected a valid number or an object"),
        ({"strength": {"female": "x"}}, "expected a valid number"),
        ({"share": -0.5}, "method.share=-0.5: expected greater than or equal to 0"),
        ({"lr": "fast"}, "method.lr=fast: expected a valid number"),
        ({"names": "abc"}, "method.names=abc: expected a valid array"),
        ({"inner": {"_target_": THING, "weight": "x"}}, "method.inner.weight=x: expected"),
        ({"inner": {"_target_": THING, "wieght": 1}}, "unknown key of method.inner 'wieght'. Did you mean 'weight'"),
        ({"inner": {"_target_": "no.such.thing"}}, "method.inner._target_ names 'no.such.thing', which cannot be"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_targets({"method": {"_target_": THING, **values}}, trust=TRUST)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_typed_parameters_of_functions_that_take_anything_are_checked() -> None:
    with pytest.raises(UserError, match=r"x\.count=two: expected a valid integer"):
        check_targets({"x": {"_target_": OPEN, "count": "two"}}, trust=TRUST)


@pytest.fixture(scope="module")
def sound() -> Any:
    """A whole configuration, as it is composed."""
    return OmegaConf.to_container(composed(["model.device=cpu", "method=sdid"]), resolve=True)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("method", None, "method=None: expected a choice"),
        ("trainer", {}, "trainer={}: expected a choice"),
        ("prompts", None, "prompts=null: expected an object"),
        ("method.training.objective", 1.5, "method.training.objective=1.5: expected a choice"),
        ("method.strength", "abc", "method.strength=abc"),
        ("method.factor", 1e300, "method.factor=1e+300"),
        ("method.name", "../up", "method.name=../up: expected a name that a file can have"),
        ("method.training.batch_size", 10**11, "method.training.batch_size: 1e+11 would take at least 1.02e+05 GB"),
        ("method.training.init_std", -1.0, "method.training.init_std=-1.0"),
        ("model.guidance_scale", 1e38, "model.guidance_scale=1e+38"),
        ("model.name", "", "model.name=: expected a name"),
        ("protocol.guidance_scale", -5.0, "protocol.guidance_scale=-5.0"),
        ("protocol.guidance_scale", float("nan"), "protocol.guidance_scale=NaN"),
        ("protocol.images_per_profession", 10**12, "protocol.images_per_profession: 1.2e+13 would take at least"),
        ("protocol.images_per_profession", 10**23, "protocol.images_per_profession=1000"),
        ("protocol.training_steps", True, "protocol.training_steps=true: expected a valid integer"),
        ("trainer.devices", "auto", "trainer.devices of at least 1"),
        ("trainer.devices", [0], "trainer.devices of at least 1"),
        ("trainer.precision", "abc", "trainer.precision=abc: expected"),
        ("trainer.precision", 7, "trainer.precision=7: expected"),
        ("evaluator.repeats", 1.5, "evaluator.repeats=1.5: expected a valid integer"),
        ("evaluator.labelled", float("nan"), "evaluator.labelled=NaN: expected"),
        ("logger.project", " ", "logger.project= : expected some text"),
        ("paths.cache", "", "paths.cache=: expected some text"),
        ("prompts.templates", [" "], 'prompts.templates=[" "]: expected some text'),
        ("prompts.measured", "nobody", "unknown group of professions (prompts.measured) 'nobody'"),
        ("optimized_metric", 3, "optimized_metric=3: expected"),
        ("attribute.concepts", {"a/b": {}}, "expected a name of at most 100 letters"),
        ("seed", -1, "seed=-1: expected greater than or equal to 0"),
        ("stages", [], "stages=[]: expected at least 1"),
    ],
)
def test_what_no_key_may_hold_is_refused_in_one_line(sound: Any, key: str, value: object, words: str) -> None:
    config = copy.deepcopy(sound)
    check(config)
    *path, last = key.split(".")
    node = config
    for part in path:
        node = node[part]
    node[last] = value
    with pytest.raises(UserError) as caught:
        check(config)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    ["success=0", "success=1.5", "strengths=[2,1]", "strengths=[0,1]", "points=1", "images=0", "professions=[]"],
)
def test_a_calibration_without_meaning_is_refused(wrong: str) -> None:
    def plain(*overrides: str) -> Any:
        return OmegaConf.to_container(composed(["model.device=cpu", *overrides]), resolve=True)

    check(plain())
    with pytest.raises(UserError, match=rf"calibration\.{wrong.split('=')[0]}"):
        check(plain(f"calibration.{wrong}"))


def test_what_is_trusted_is_a_list_after_all_is_resolved() -> None:
    with pytest.raises(UserError, match=r"^trust=0: "):
        plain_config(composed(["trust=${seed}"]))


@pytest.mark.parametrize("key", ["model", "scheduler", "method", "mask", "frequency", "evaluator", "logger", "trainer"])
def test_a_node_of_another_group_is_refused(key: str) -> None:
    config = plain_config(composed(["protocol=smoke"]))
    other = config["frequency"] if key != "frequency" else config["scheduler"]
    with pytest.raises(UserError, match=rf"^{key} names hspace_exp\..*, which is of another group"):
        check({**config, key: {**config[key], "_target_": other["_target_"]}})
