"""Other projects' files, written here exactly as those projects write them."""

from pathlib import Path

import pytest
import torch

from hspace_exp.concepts.concept import Concept
from hspace_exp.concepts.formats import export_concepts, import_concepts
from hspace_exp.errors import UserError


def concept(name: str, vector: torch.Tensor) -> Concept:
    return Concept(vector, name, "gender", "tiny", "abc", (6, 2, 3), "sdid")


def test_concept_emb_rows_become_channel_vectors(tmp_path: Path) -> None:
    rows = torch.randn(100, 1280)
    torch.save({"concept_emb": rows}, tmp_path / "x.pt")
    concepts = import_concepts(tmp_path / "x.pt")
    assert list(concepts) == [
        "female", "male", "young", "old", "white-race", "black-race", "anti-sexual", "smile", "jump"
    ]  # fmt: skip
    assert torch.equal(concepts["old"].vector, rows[3].reshape(1280, 1, 1))
    assert (concepts["old"].attribute, concepts["old"].kind) == ("age", "channel")
    assert concepts["old"].h_shape == (1280, 32, 32)


def test_fc1_columns_become_spatial_vectors(tmp_path: Path) -> None:
    layer = torch.nn.Linear(8, 81920, bias=False)
    torch.save({"controlnet.fc1.weight": layer.weight.data.half()}, tmp_path / "x.pth")
    concepts = import_concepts(tmp_path / "x.pth")
    assert len(concepts) == 8
    one_hot = torch.zeros(1, 8)
    one_hot[0, 4] = 1
    expected = layer(one_hot).reshape(1280, 8, 8)
    torch.testing.assert_close(concepts["whiterace"].vector, expected.detach(), atol=1e-3, rtol=1e-3)
    assert concepts["whiterace"].attribute == "race"


@pytest.mark.parametrize(("file_format", "shape"), [("concept_emb", (6, 1, 1)), ("fc1", (6, 2, 3))])
def test_export_then_import(tmp_path: Path, file_format: str, shape: tuple[int, int, int]) -> None:
    ours = [concept(name, torch.randn(shape)) for name in ("female", "male")]
    table = export_concepts({one.name: one for one in ours}, tmp_path / "x.pt", file_format)
    assert table == {"female": 0, "male": 1}
    read = import_concepts(tmp_path / "x.pt", names=table, h_shape=(6, 2, 3), model="tiny")
    for one in ours:
        assert torch.equal(read[one.name].vector, one.vector)
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def test_exported_shapes_are_the_published_ones(tmp_path: Path) -> None:
    channel, spatial = concept("a", torch.ones(6, 1, 1)), concept("a", torch.ones(6, 2, 3))
    export_concepts({"a": channel}, tmp_path / "x.pt", "concept_emb")
    assert torch.load(tmp_path / "x.pt", weights_only=True)["concept_emb"].shape == (100, 6)
    export_concepts({"a": spatial}, tmp_path / "x.pth", "fc1")
    assert torch.load(tmp_path / "x.pth", weights_only=True)["controlnet.fc1.weight"].shape == (36, 1)


def test_what_cannot_be_imported_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(UserError, match="no file"):
        import_concepts(path)
    path.write_bytes(b"not a pickle")
    with pytest.raises(UserError, match="download it again"):
        import_concepts(path)
    torch.save({"concept_emb": torch.randn(100, 1280)}, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="download it again"):
        import_concepts(path)
    torch.save({"lora": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"neither 'concept_emb' nor 'controlnet\.fc1\.weight', but lora"):
        import_concepts(path)
    torch.save([1], path)
    with pytest.raises(UserError, match="holds a list"):
        import_concepts(path)
    torch.save({"concept_emb": torch.randn(4, 16)}, path)
    with pytest.raises(UserError, match=r"shape \(4, 16\).*give the h_shape"):
        import_concepts(path)
    with pytest.raises(UserError, match="no number 9 for 'x'"):
        import_concepts(path, names={"x": 9}, h_shape=(16, 4, 4))


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"concept_emb": Bomb()}, tmp_path / "x.pt")
    with pytest.raises(UserError, match="plain tensors"):
        import_concepts(tmp_path / "x.pt")
    assert not (tmp_path / "ran").exists()


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    channel, spatial = concept("a", torch.ones(6, 1, 1)), concept("b", torch.ones(6, 2, 3))
    with pytest.raises(UserError, match="Choices: concept_emb, fc1"):
        export_concepts({"a": channel}, tmp_path / "x", "pt")
    with pytest.raises(UserError, match="takes channel vectors of one model, but 'b' is spatial"):
        export_concepts({"a": channel, "b": spatial}, tmp_path / "x", "concept_emb")
