"""The command on concept files, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hspace_exp.commands import start
from hspace_exp.concepts.concept import Concept, load_concept

SHAPE = ("--h-shape", "6", "2", "3")


def saved(folder: Path, name: str, *shape: int, seed: int = 0) -> Path:
    vector = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    concept = Concept(vector, name, "gender", "tiny", "abc", (6, 2, 3), "sdid", hyperparameters={"strength": 2.0})
    return concept.save(folder / f"{name}.safetensors")


def run(*words: object) -> int:
    return start(["concepts", *(str(word) for word in words)])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [saved(tmp_path, "female", 6, 1, 1), saved(tmp_path, "male", 6, 2, 3)]
    assert run("show", *files) == 0
    cards = capsys.readouterr().out
    assert cards == files[0].with_suffix(".md").read_text() + "\n" + files[1].with_suffix(".md").read_text()
    assert run("show", "--json", *files) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["file"] for entry in found] == [str(path) for path in files]
    assert [(entry["kind"], entry["shape"]) for entry in found] == [("channel", [6, 1, 1]), ("spatial", [6, 2, 3])]
    assert found[1]["h_shape"] == [6, 2, 3]
    assert found[1]["hyperparameters"] == {"strength": 2.0}
    assert found[0]["rms"] == pytest.approx(np.sqrt(np.mean(load_concept(files[0]).vector.numpy() ** 2)))


@pytest.mark.parametrize(("file_format", "shape"), [("concept_emb", (6, 1, 1)), ("fc1", (6, 2, 3))])
def test_round_trip_is_exact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file_format: str, shape: tuple[int, ...]
) -> None:
    files = [saved(tmp_path, name, *shape, seed=i) for i, name in enumerate(("old", "female", "my own"))]
    target, names = tmp_path / "out" / "x.pt", tmp_path / "out" / "x.pt.json"
    assert run("export", *files, target, "--format", file_format) == 0
    assert capsys.readouterr().out.split("\n") == [str(target), str(names), ""]
    assert json.loads(names.read_text()) == {"old": 0, "female": 1, "my own": 2}
    back = tmp_path / "back"
    assert run("import", target, back, "--names", names, *SHAPE, "--model", "tiny", "--revision", "abc") == 0
    assert capsys.readouterr().out.split("\n")[:-1] == [str(back / file.name) for file in sorted(files)]
    for file in files:
        before, after = load_concept(file), load_concept(back / file.name)
        assert torch.equal(after.vector, before.vector)
        assert (after.name, after.h_shape, after.model, after.revision) == (before.name, (6, 2, 3), "tiny", "abc")
        assert after.licence == "unknown"
        assert (back / file.name).with_suffix(".md").is_file()


def test_published_names_are_the_default(tmp_path: Path) -> None:
    rows = torch.randn(100, 1280)
    torch.save({"concept_emb": rows}, tmp_path / "x.pt")
    assert run("import", tmp_path / "x.pt", tmp_path / "in", "--licence", "MIT") == 0
    found = load_concept(tmp_path / "in" / "male.safetensors")
    assert torch.equal(found.vector[:, 0, 0], rows[1])
    assert (found.licence, found.h_shape) == ("MIT", (1280, 32, 32))


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, target = saved(tmp_path, "female", 6, 1, 1), tmp_path / "x.pt"
    before = file.read_bytes()
    assert run("export", file, target, "--format", "concept_emb") == 0
    capsys.readouterr()
    assert run("export", file, target, "--format", "concept_emb") == 2
    assert "x.pt is there already" in said(capsys)
    assert run("import", target, tmp_path, "--names", f"{target}.json", *SHAPE) == 2
    assert "female.safetensors is there already" in said(capsys)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("{", "Invalid JSON"),
        ("[1]", "give a file of"),
        ('{"a": "0"}', "give a file of"),
        ('{"a": true}', "give a file of"),
        ('{"../a": 0}', "expected a name of"),
        ('{"": 0}', "expected a name of"),
        ('{"a": 100}', "no number 100 for 'a'"),
        (None, "No such file"),
    ],
)
def test_bad_names_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: str | None, message: str
) -> None:
    torch.save({"concept_emb": torch.randn(100, 6)}, tmp_path / "x.pt")
    if names is not None:
        (tmp_path / "names.json").write_text(names)
    assert run("import", tmp_path / "x.pt", tmp_path / "in", "--names", tmp_path / "names.json", *SHAPE) == 2
    assert message in said(capsys)
    assert not (tmp_path / "in").exists()


def test_wrong_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path, "female", 6, 2, 3)
    assert run("show", file, tmp_path / "male.safetensors") == 2
    assert "no concept file" in said(capsys)
    assert run("export", file, tmp_path / "x.pt", "--format", "concept_emb") == 2
    assert "takes channel vectors of one model, but 'female' is spatial" in said(capsys)
    assert run("import", file, tmp_path / "in") == 2
    assert "not a known concept format" in said(capsys)
    torch.save({"concept_emb": torch.randn(2, 5)}, tmp_path / "y.pt")
    assert run("import", tmp_path / "y.pt", tmp_path / "in") == 2
    assert "give the h_shape" in said(capsys)
    assert run("export", file, tmp_path / "x.pt", "--format", "fc2") == 2
    assert "Did you mean 'fc1'" in said(capsys)
    for words in ([], ["show"], ["export", str(file), str(tmp_path / "x.pt")]):
        assert run(*words) == 2
        assert "Missing" in said(capsys)
