"""The lines of Python that apply concept files to a pipeline of diffusers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hspace_exp.concepts.concept import concept_files, load_concept
from hspace_exp.config.command_line import choices, composed
from hspace_exp.errors import UserError


def show(files: Sequence[Path], prompt: str) -> None:
    """Print Python that makes images of a prompt with the concepts of files, at the strengths that they state, or 1.

    Several concepts of an attribute make a fair batch. A model is named where conf/model knows it; the names that files
    give are only compared. Raises UserError: a file cannot be read, or they are for several models.
    """
    found = {str(file): load_concept(file) for file in concept_files(files)}
    model, *others = {concept.model for concept in found.values()}
    if others:
        raise UserError(f"the concept files are for several models ({', '.join([model, *others])}): name those of one")
    known = (composed([f"model={name}"], "generate").model for name in choices("model"))
    node = next((node for node in known if model in (node.name, node.source)), None)
    source, scale = (node.source, f", guidance_scale={node.guidance_scale}") if node else ("FOLDER OF THE MODEL", "")
    strengths = {repr(file): 1.0 if one.used.strength is None else one.used.strength for file, one in found.items()}
    fair = len({concept.attribute for concept in found.values()}) < len(found)
    asked, count = (', assignment="balanced"', f" * {len(found)}") if fair else ("", "")
    print(python(repr(source), f"[{prompt!r}]{count}{scale}", strengths, asked), end="")


def python(
    pipe: str, call: str, strengths: Mapping[str, float], asked: str = "", imports: Sequence[str] = (), then: str = ""
) -> str:
    """Python that saves an image of a pipeline, steered where ``strengths`` name files; all are given as expressions.

    ``pipe`` and ``call`` are arguments of the pipeline's making and of its call, ``asked`` more ones of ``steer``;
    ``then`` stands behind the making.
    """
    held = ", ".join(f"{file}: {strength!r}" for file, strength in strengths.items())
    steered = f"with steer(pipe, {{{held}}}{asked}):\n    " if strengths else ""
    lines = ["import diffusers", *imports, *(["from hspace_exp import steer"] if strengths else []), ""]
    lines += [f"pipe = diffusers.DiffusionPipeline.from_pretrained({pipe}){then}"]
    return "\n".join([*lines, f"{steered}images = pipe({call}).images", 'images[0].save("image.png")', ""])
