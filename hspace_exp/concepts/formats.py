"""Concept files of other projects: read them as ``Concept`` objects, and write ours the way they do.

* ``concept_emb``: ``{"concept_emb": (N, C)}``, one channel vector a row (Shokrolahi et al., SDXL).
* ``fc1``: ``{"controlnet.fc1.weight": (C * H * W, K)}``, one spatial vector a column (SDID, Li et al., SD 1.4).

Neither holds names: they come from a dictionary name -> row or column that is published beside the weights.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError, unknown
from hspace_exp.io.atomic import write_bytes

CONCEPT_EMB_NAMES = {
    "female": 0,
    "male": 1,
    "young": 2,
    "old": 3,
    "white-race": 4,
    "black-race": 5,
    "anti-sexual": 6,
    "smile": 7,
    "jump": 8,
}
FC1_NAMES = {
    name: column
    for column, name in enumerate(
        ("female", "male", "young", "old", "whiterace", "blackrace", "asianrace", "antisexual")
    )
}
ATTRIBUTES = {
    "gender": ("female", "male"),
    "age": ("young", "old"),
    "race": ("white-race", "black-race", "whiterace", "blackrace", "asianrace"),
    "safety": ("anti-sexual", "antisexual"),
}
EMB_KEY, FC1_KEY = "concept_emb", "controlnet.fc1.weight"
FORMATS = ("concept_emb", "fc1")
EMB_ROWS = 100


def import_concepts(
    path: Path | str,
    *,
    names: Mapping[str, int] | None = None,
    h_shape: tuple[int, int, int] | None = None,
    model: str | None = None,
    revision: str = "unknown",
    licence: str = "unknown",
) -> dict[str, Concept]:
    """Read every named vector of a ``.pt``/``.pth`` file; which format it has is seen from its keys.

    Args:
        path: the file; unpickled with ``weights_only=True``, so it cannot run code.
        names: name -> row or column; by default the dictionary published for the format.
        h_shape: (C, H, W) of the model's h; by default SDXL's at 1024 px or SD 1.4's at 512 px.
        model: the model's id; by default the one that the format's authors used.
        revision: of that model.
        licence: of the file; these files state none.

    Raises:
        UserError: the file is missing, damaged, of neither format, or does not fit ``names`` or ``h_shape``.
    """
    path = Path(path)
    state = _load(path)
    if EMB_KEY in state:
        matrix, method, default_model = state[EMB_KEY], "score_matching", "stabilityai/stable-diffusion-xl-base-1.0"
        shape = h_shape or (1280, 32, 32)
        vectors, expected = matrix[..., None, None], (shape[0], 1, 1)
        table = CONCEPT_EMB_NAMES if names is None else names
    elif FC1_KEY in state:
        matrix, method, default_model = state[FC1_KEY], "sdid", "CompVis/stable-diffusion-v1-4"
        shape = h_shape or (1280, 8, 8)
        vectors, expected = matrix.T, shape
        table = FC1_NAMES if names is None else names
    else:
        found = ", ".join(sorted(map(str, state)))[:120]
        raise UserError(f"{path} holds neither {EMB_KEY!r} nor {FC1_KEY!r}, but {found}: not a known concept format")
    if matrix.ndim != 2 or vectors[0].numel() != torch.Size(expected).numel():
        raise UserError(
            f"{path} holds a matrix of shape {tuple(matrix.shape)}, which does not split into vectors {expected} "
            f"for h {shape}: give the h_shape of the model it was made for"
        )
    if names is None:
        table = {name: i for name, i in table.items() if i < len(vectors)}
    concepts = {}
    for name, i in table.items():
        if not 0 <= i < len(vectors):
            raise UserError(f"{path} holds {len(vectors)} vectors, so there is no number {i} for {name!r}")
        concepts[name] = Concept(
            vectors[i].reshape(expected),
            name=name,
            attribute=next((a for a, members in ATTRIBUTES.items() if name in members), name),
            model=model or default_model,
            revision=revision,
            h_shape=shape,
            method=method,
            hyperparameters={"imported_from": path.name},
            licence=licence,
        )
    return concepts


def export_concepts(concepts: Sequence[Concept], path: Path | str, file_format: str) -> dict[str, int]:
    """Write concepts the way other projects read them.

    Args:
        concepts: all channel vectors for ``concept_emb``, all spatial ones of one h shape for ``fc1``.
        path: the ``.pt``/``.pth`` file to write, whole or not at all.
        file_format: ``concept_emb`` or ``fc1``.

    Returns:
        name -> row or column, the dictionary to publish beside the file.
    """
    if file_format not in FORMATS:
        raise unknown("concept format", file_format, FORMATS)
    if not concepts:
        raise UserError("expected at least one concept to export, got none")
    kind = "channel" if file_format == "concept_emb" else "spatial"
    for concept in concepts:
        if concept.kind != kind or concept.h_shape != concepts[0].h_shape:
            raise UserError(
                f"format {file_format!r} takes {kind} vectors of one model, but {concept.name!r} is {concept.kind} "
                f"for h {concept.h_shape}"
            )
    table = {concept.name: i for i, concept in enumerate(concepts)}
    if len(table) < len(concepts):
        raise UserError("expected concepts of different names: the exported file tells them apart by name")
    rows = torch.stack([concept.vector.flatten() for concept in concepts])
    if file_format == "concept_emb":
        matrix = torch.zeros(max(EMB_ROWS, len(rows)), rows.shape[1])
        matrix[: len(rows)] = rows
        state = {EMB_KEY: matrix}
    else:
        state = {FC1_KEY: rows.T.contiguous()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())
    return table


def _load(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise UserError(f"no file {path} to import concepts from")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path} is not a whole PyTorch file of plain tensors ({type(error).__name__}): download it again"
        ) from error
    if not isinstance(state, Mapping):
        raise UserError(f"{path} holds a {type(state).__name__}, expected a dictionary of tensors")
    return {key: value.float() for key, value in state.items() if isinstance(value, Tensor)}
