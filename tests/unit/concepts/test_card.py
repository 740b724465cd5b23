"""What a concept file may say: all of it is read once, within limits, and each refusal is one line that names it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.concepts.formats import import_concepts
from hspace_exp.errors import UserError
from hspace_exp.io.checksums import note

H = (4, 2, 2)


def plain(**more: Any) -> Concept:
    return Concept(torch.ones(4, 1, 1), "female", "gender", "tiny", "abc", H, "sdid", **more)


def written(path: Path, tensors: dict[str, torch.Tensor] | None = None, **said: str) -> Path:
    """A file that says some metadata otherwise."""
    save_file(tensors or {"vector": torch.ones(4, 1, 1)}, path, plain().metadata() | said)
    return path


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_concept(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 700
    return str(caught.value)


@pytest.mark.parametrize(
    ("used", "told"),
    [
        ({"strength": 1e300}, "strength"),
        ({"strength": -20000.0}, "strength"),
        ({"strength": "2"}, "strength"),
        ({"strength": True}, "strength"),
        ({"guidance_scale": 1e38}, "guidance_scale"),
        ({"guidance_scale": -1.0}, "guidance_scale"),
        ({"guidance_scale": []}, "guidance_scale"),
        ({"branch": "../both"}, "branch"),
        ({"branch": ["both"]}, "branch"),
        ({"made_by": "x\ny"}, "made_by"),
        ({"classifier": {"scale": [0.0], "bias": [1.0]}}, "classifier.scale"),
        ({"classifier": {"scale": [1.0]}}, "classifier.bias"),
        ({"classifier": {"scale": ["a"], "bias": [1.0]}}, "classifier.scale"),
        ({"applied": {"method.training": 1}}, "applied"),
        ({"applied": {"method.window": "${oc.env:HOME}"}}, "applied"),
        ({"applied": {"method.edit": {"_target_": "a/b"}}}, "applied"),
        ({"applied": {"method.edit": {"_partial_": True}}}, "applied"),
        ({"applied": {"method.edit": {"gate": 1e300}}}, "applied"),
        ([], "hyperparameters"),
        (None, "hyperparameters"),
    ],
)
def test_what_is_acted_upon_has_limits(tmp_path: Path, used: Any, told: str) -> None:
    assert told in refused(written(tmp_path / "x.safetensors", hyperparameters=json.dumps(used)))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("name", "../female"), ("name", "a+b"), ("name", ""), ("name", "=1"), ("name", "a\nb"), ("name", "x" * 101),
        ("attribute", "a|b"), ("method", "../../con/evil"), ("model", "x\n" * 3), ("revision", "x" * 1001),
        ("h_shape", "[4, 2]"), ("h_shape", "[4, 2, 0]"), ("h_shape", "[4, 2, 2.5]"), ("h_shape", "[4, 2, 1e30]"),
        ("h_shape", '"422"'), ("h_shape", "null"), ("prompts", "[]"), ("prompts", '{"positive": 1}'),
        ("prompts", json.dumps({str(k): "" for k in range(21)})), ("prompts", json.dumps({"positive": "x" * 4001})),
        ("seed", "-1"), ("seed", "1.5"), ("seed", "true"), ("seed", "9" * 5000), ("metrics", "NaN"),
        ("metrics", '{"a": NaN}'), ("metrics", '{"a": 1e999}'), ("metrics", "[" * 100_000), ("metrics", "{"),
        ("metrics", '{"a": "' + "x" * 2**20 + '"}'), ("format", "other"), ("format_version", "9"),
    ],
)  # fmt: skip
def test_other_metadata_has_limits(tmp_path: Path, key: str, text: str) -> None:
    refused(written(tmp_path / "x.safetensors", **{key: text}))


@pytest.mark.parametrize("name", ["vector", "presence"])
@pytest.mark.parametrize(
    "wrong",
    [
        torch.ones(4, 1, 1, dtype=torch.int64), torch.ones(4, 1, 1, dtype=torch.bool),
        torch.ones(4, 1, 1, dtype=torch.complex64), torch.full((4, 1, 1), 3e38), torch.full((4, 1, 1), float("nan")),
        torch.full((4, 1, 1), -float("inf")), torch.full((4, 1, 1), 1e300, dtype=torch.float64), torch.ones(4, 2, 1),
        torch.ones(3, 1, 1), torch.ones(4), torch.tensor(1.0), torch.zeros(0),
    ],
    ids=str,
)  # fmt: skip
def test_vectors_are_finite_numbers_of_hs_shape(tmp_path: Path, name: str, wrong: torch.Tensor) -> None:
    refused(written(tmp_path / "x.safetensors", {"vector": torch.ones(4, 1, 1)} | {name: wrong}))


def test_what_is_said_within_limits_is_read(tmp_path: Path) -> None:
    applied = {"method.window": [0.0, 0.5], "method.edit": {"_target_": "Focus", "gate": None, "adaptive": False}}
    used = {"strength": -3, "branch": "both", "guidance_scale": 7.5, "made_by": "abc", "applied": applied, "more": [1]}
    named = plain(hyperparameters=used, prompts={"positive": "a\nb"}, metrics={"x": {"y": None}})
    read = load_concept(named.save(tmp_path / "x.safetensors"))
    assert read.hyperparameters == used
    assert (read.used.strength, read.used.branch, read.used.guidance_scale) == (-3.0, "both", 7.5)
    assert read.used.applied == applied
    assert plain().used.applied is None


def test_a_card_is_markdown_whatever_a_file_says(tmp_path: Path) -> None:
    hostile = "x|y `z` <script>alert(1)</script> [a](http://b)"
    said = plain(licence=hostile, prompts={"positive": hostile}, metrics={hostile: hostile})
    card = load_concept(said.save(tmp_path / "x.safetensors")).card()
    assert not [line for line in card.splitlines() if "<script" in line.replace("\\<", "")]
    assert "](" not in card
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {3}


SPARSE = torch.eye(256).to_sparse()
WRONG = {
    "sparse": SPARSE, "meta": torch.zeros(256, device="meta"), "empty": torch.zeros(0), "text": "x", "none": None,
    "int": torch.zeros(256, dtype=torch.int32), "bool": torch.zeros(256, dtype=torch.bool),
    "complex": torch.zeros(256, dtype=torch.complex64), "nan": torch.full((256,), float("nan")),
    "huge": torch.zeros(1).expand(2**40), "large": torch.full((256,), 3e38), "scalar": torch.tensor(1.0),
}  # fmt: skip


@pytest.mark.parametrize("key", [None, "concept_emb", "controlnet.fc1.weight"])
@pytest.mark.parametrize("kind", WRONG)
def test_tensors_of_another_kind_are_not_imported(tmp_path: Path, kind: str, key: str | None) -> None:
    path = tmp_path / "x.pt"
    torch.save(WRONG[kind] if key is None else {key: WRONG[kind]}, path)
    with pytest.raises(UserError, match=r"x\.pt") as caught:
        import_concepts(path, h_shape=(16, 4, 4))
    assert "\n" not in str(caught.value)


def test_bytes_of_no_meaning_are_not_imported(tmp_path: Path) -> None:
    path, random = tmp_path / "x.pt", torch.Generator().manual_seed(0)
    torch.save({"concept_emb": torch.randn(4, 16)}, path)
    whole, refusals = bytearray(path.read_bytes()), 0
    for turn in range(60):
        noise = bytes(torch.randint(256, (200,), generator=random, dtype=torch.uint8).tolist())
        place = int(torch.randint(len(whole) - 200, (), generator=random))
        path.write_bytes(b"\x80\x02" * (turn % 2) + noise if turn % 3 else whole[:place] + noise + whole[place + 200 :])
        with suppress(UserError):
            import_concepts(path, h_shape=(16, 4, 4))
            continue
        with pytest.raises(UserError) as caught:
            import_concepts(path, h_shape=(16, 4, 4))
        refusals += 1
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value)
    assert refusals >= 40


def test_a_flipped_bit_of_a_runs_vector_is_noticed(tmp_path: Path) -> None:
    path = plain().save(tmp_path / "female.safetensors")
    note(tmp_path, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "checksum" in refused(path)
    plain(seed=1).save(path)  # by this package, which writes down what it holds now
    assert load_concept(path).seed == 1
