"""Digests of plain data."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hspace_exp.errors import UserError
from hspace_exp.io.digest import Recipe, config_digest, digest, essential, with_sources

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_is_sha256_of_canonical_json() -> None:
    assert digest({"b": [1, 2.5], "a": "ü"}) == hashlib.sha256(b'{"a":"\\u00fc","b":[1,2.5]}').hexdigest()[:16]


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert digest(value) == digest(dict(reversed(list(value.items()))))


def test_values_and_types_matter() -> None:
    assert len({digest(v) for v in (1, "1", 1.5, True, None, [1], {"1": 1}, [])}) == 8
    assert digest((1, 2)) == digest([1, 2])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), {"a": b"x"}])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(UserError, match="expected plain data"):
        digest(value)


@pytest.mark.parametrize(
    "name", ["threads", "workers", "device", "devices", "batch_size", "compile", "logger", "strategy"]
)
@pytest.mark.parametrize("where", ["method.training.objective", "mask.inner", "frequency", "scheduler"])
def test_a_parameter_counts_whatever_its_name(name: str, where: str) -> None:
    def config(value: int) -> dict[str, object]:
        node: dict[str, object] = {"_target_": "mine.Own", name: value}
        for key in reversed(where.split(".")):
            node = {key: node}
        return node

    assert config_digest(config(1)) != config_digest(config(2))
    part = where.partition(".")[0]
    assert essential(config(1)[part], part) != essential(config(2)[part], part)


@pytest.mark.parametrize(
    "path", ["device", "chunk_size", "paths.cache", "logger.project", "model.compile", "mask.batch_size",
             "evaluator.features.device", "evaluator.batch_size", "trainer.devices", "trainer.strategy"]
)  # fmt: skip
def test_what_changes_no_number_is_left_out_by_its_path(path: str) -> None:
    def config(value: int) -> dict[str, object]:
        node: object = value
        for key in reversed(path.split(".")):
            node = {key: node}
        assert isinstance(node, dict)
        return node

    assert config_digest(config(1)) == config_digest(config(2))
    assert config_digest({"method": config(1)}) != config_digest({"method": config(2)})


def test_a_recipe_is_its_kind_and_inputs(tmp_path: Path) -> None:
    one = Recipe("runs", {"prompt": "a", "seed": 0})
    assert one.digest == digest({"kind": "runs", "prompt": "a", "seed": 0})
    assert one.folder(tmp_path) == tmp_path / one.digest
    assert len({one.digest, Recipe("maps", one.inputs).digest, Recipe("runs", {"prompt": "b", "seed": 0}).digest}) == 3


def test_the_source_of_a_users_own_class_is_a_part_of_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    node = {
        "training": {"objective": {"_target_": "own_objective.Mine", "x": 1}, "lr": [{"_target_": "torch.optim.Adam"}]}
    }
    found = []
    for body in ("1", "2"):
        (tmp_path / "own_objective.py").write_text(f"class Mine:\n    value = {body}\n")
        sys.modules.pop("own_objective", None)
        found.append(with_sources(node))
    assert [one["training"]["lr"] for one in found] == [node["training"]["lr"]] * 2
    assert config_digest(found[0]) != config_digest(found[1])
    assert found[0]["training"]["objective"].keys() == {"_target_", "x", "_source_"}
    ours = {"_target_": "hspace_exp.methods.base.Method", "a": {"_target_": "lightning.Trainer"}}
    absent = {"_target_": "no_such_module.Mine"}
    assert with_sources([ours, absent, "text", None]) == [ours, absent, "text", None]


def test_metrics_of_the_package_make_no_other_run_and_those_of_ones_own_do() -> None:
    def config(**metrics: str) -> dict[str, object]:
        nodes = {name: {"_target_": target} for name, target in metrics.items()}
        return {"seed": 0, "evaluator": {"repeats": 10, "metrics": nodes}}

    plain = config_digest({"seed": 0, "evaluator": {"repeats": 10}})
    assert config_digest(config(success="hspace_exp.evaluation.metrics.fairness.Success")) == plain
    assert config_digest(config(mine="json.JSONDecoder")) != plain
