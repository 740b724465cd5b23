"""Concept files of other projects: read them as ``Concept`` objects, and write ours the way they do.

* ``concept_emb``: ``{"concept_emb": (N, C)}``, one channel vector a row (Shokrolahi et al., SDXL).
* ``fc1``: ``{"controlnet.fc1.weight": (C * H * W, K)}``, one spatial vector a column (SDID, Li et al., SD 1.4); also
  that matrix or one vector as a bare tensor, as forks of SDID write them.

Neither holds names: they come from a dictionary name -> row or column that is published beside the weights.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError, unknown
from hspace_exp.io.atomic import write_bytes

EMB_ROWS = 100
_MOST = 2**28  # numbers in a matrix; the published ones have 655,360


@dataclass(frozen=True)
class Format:
    """What the files of a project hold, and what its authors published them with."""

    key: str  # of the matrix
    kind: str  # of the vectors, ``channel`` (the matrix's rows) or ``spatial`` (its columns)
    method: str  # that made them
    model: str  # the hub id of the authors' model
    h_shape: tuple[int, int, int]  # (C, H, W) of that model's h
    names: tuple[str, ...]  # of the rows or columns, in order
    used: Mapping[str, float | str]  # strength and branch of guidance with which its authors' code applies them


_DATA = json.loads(Path(__file__).with_name("formats.json").read_text("utf-8"))
FORMATS: dict[str, Format] = TypeAdapter(dict[str, Format]).validate_python(_DATA["formats"])
ATTRIBUTES: dict[str, str] = _DATA["attributes"]  # of the names that they use


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
        names: name -> row or column; by default the dictionary published for the format, and for one vector alone the
            name of the file.
        h_shape: (C, H, W) of the model's h; by default SDXL's at 1024 px or SD 1.4's at 512 px.
        model: the model's id; by default the one that the format's authors used.
        revision: of that model.
        licence: of the file; these files state none.

    Raises:
        UserError: the file is missing, damaged, of neither format, or does not fit ``names`` or ``h_shape``.
    """
    path = Path(path)
    state = _load(path, math.prod(h_shape or FORMATS["fc1"].h_shape))
    form = next((form for form in FORMATS.values() if form.key in state), None)
    if form is None:
        keys, found = " nor ".join(repr(form.key) for form in FORMATS.values()), ", ".join(sorted(map(str, state)))
        raise UserError(f"{path} holds neither {keys}, but {found[:120]}: not a known concept format")
    if not _is_plain(state[form.key]):
        raise UserError(f"{path} holds no dense floating-point tensor {form.key!r}: download it again")
    matrix, shape = state[form.key].detach().float(), h_shape or form.h_shape
    expected = shape if form.kind == "spatial" else (shape[0], 1, 1)
    if matrix.ndim != 2 or matrix.shape[form.kind == "channel"] != math.prod(expected):
        raise UserError(
            f"{path} holds a matrix of shape {tuple(matrix.shape)}, which does not split into vectors {expected} "
            f"for h {shape}: give the h_shape of the model it was made for"
        )
    vectors = matrix if form.kind == "channel" else matrix.t()
    published = form.names if len(vectors) > 1 else [path.stem]
    table = dict(zip(published, range(len(vectors)), strict=False)) if names is None else names
    concepts = {}
    for name, i in table.items():
        if not 0 <= i < len(vectors):
            raise UserError(f"{path} holds {len(vectors)} vectors, so there is no number {i} for {name!r}")
        try:
            concepts[name] = Concept(
                vectors[i].reshape(expected),
                name=name,
                attribute=ATTRIBUTES.get(name, name),
                model=model or form.model,
                revision=revision,
                h_shape=shape,
                method=form.method,
                hyperparameters={"imported_from": path.name, **form.used},
                licence=licence,
            )
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    return concepts


def export_concepts(concepts: Mapping[str, Concept], path: Path | str, file_format: str) -> dict[str, int]:
    """Write concepts, at least one, by name, the way other projects read them, whole or not at all.

    They are all channel vectors for ``concept_emb``, all spatial ones of one h shape for ``fc1``.

    Returns:
        name -> row or column, the dictionary to publish beside the ``.pt``/``.pth`` file.
    """
    if file_format not in FORMATS:
        raise unknown("concept format", file_format, FORMATS)
    form, given = FORMATS[file_format], list(concepts.values())
    for concept in given:
        if concept.kind != form.kind or concept.h_shape != given[0].h_shape:
            raise UserError(
                f"format {file_format!r} takes {form.kind} vectors of one model, but {concept.name!r} is "
                f"{concept.kind} for h {concept.h_shape}"
            )
    rows = torch.stack([concept.vector.flatten() for concept in given])
    padded = F.pad(rows, (0, 0, 0, max(0, EMB_ROWS - len(rows))))
    buffer = io.BytesIO()
    torch.save({form.key: padded if form.kind == "channel" else rows.t().contiguous()}, buffer)
    write_bytes(path, buffer.getvalue())
    return {name: i for i, name in enumerate(concepts)}


def _load(path: Path, size: int) -> Mapping[str, Any]:
    """What a file holds by name; a bare tensor, of vectors of ``size`` numbers, by that of ``fc1``."""
    if not path.is_file():
        raise UserError(f"no file {path} to import concepts from")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises dozens of kinds, with advice to load the file unsafely
        raise UserError(
            f"{path} is not a whole PyTorch file of plain tensors ({type(error).__name__}): download it again"
        ) from error
    if _is_plain(state):
        rows = (state.ndim != 2 or len(state) != size) and not state.numel() % size
        state = {FORMATS["fc1"].key: state.reshape(-1, size).t() if rows else state}
    if not isinstance(state, Mapping):
        raise UserError(f"{path} holds a {type(state).__name__}, expected a dictionary of dense floating-point tensors")
    return state


def _is_plain(some: object) -> bool:
    """Whether it is a dense tensor of floating-point numbers in memory, and no larger than vectors are."""
    if not isinstance(some, Tensor) or some.layout != torch.strided or some.is_meta or some.is_quantized:
        return False
    return some.is_floating_point() and 0 < some.numel() < _MOST
