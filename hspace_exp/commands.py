"""``hspace-exp NAME …``: what each command takes; the function that it starts takes the same names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import yaml
from typer import Argument, Context, Exit, Option, echo

from hspace_exp import __version__
from hspace_exp.config.cli import Cli

PROGRAM = "hspace-exp"

HELP = yaml.safe_load(Path(__file__).with_name("commands.yaml").read_text("utf-8"))
AS_IT_IS = "\b\n"  # before a text whose lines are not joined

app = Cli(epilog=AS_IT_IS + HELP["examples"])
exchange = Cli(help="Look at concept files, and exchange them with other projects.")

Device = Annotated[str, Option(help="auto, cpu, cuda, cuda:1, mps")]
Seed = Annotated[int, Option(help="of what is drawn")]
Overrides = Annotated[list[str] | None, Argument(help="of the run, e.g. model=sd15 method=lwim")]
Records = Annotated[list[Path], Argument(metavar="PATH...", help="a record.json, records.jsonl.gz or any folder above")]
Files = Annotated[list[Path], Argument(metavar="FILE...", help="concept files, or folders of them")]


def start(words: Sequence[str]) -> int:
    """Run the command that ``words`` begin with; returns its exit code, 2 for wrong input, 130 when interrupted."""
    return app.run(words, PROGRAM)


def _version(asked: bool) -> None:
    if asked:
        echo(f"{PROGRAM} {__version__}")
        raise Exit


@app.callback()
def about(
    version: Annotated[bool, Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Learn concept vectors in the h-space of a frozen text-to-image model, apply them, measure what they do."""


@app.starts("hspace_exp.job:main", add_help_option=False, context_settings={"ignore_unknown_options": True})
def run(words: Annotated[list[str] | None, Argument()] = None) -> None:
    """The main job: learn, apply, measure. Hydra's grammar, key=value; `run --help` shows all choices."""


@app.starts("hspace_exp.generation.request:answer")
def generate(
    prompt: Annotated[list[str], Argument(metavar="PROMPT...", help="what images show, one or several")],
    concepts: Annotated[list[str], Option(help="file, or folder such as a run's concepts; again or a,b for several")],
    ask: Annotated[list[str] | None, Option(help="attribute or concept to ask for; others are kept")] = None,
    strength: Annotated[list[str] | None, Option(help="2, or female=2 for each; default: as the files say")] = None,
    seeds: Annotated[str, Option(help="how many, or which: 3,5,9 (one: 3,)")] = "4",
    assignment: Annotated[str, Option(help="balanced: in turn; random; sum: all at once; or a name")] = "balanced",
    respect_prompt: Annotated[bool, Option(help="leave prompts alone that name the attribute: a male nurse")] = True,
    num_inference_steps: Annotated[int, Option("--num-inference-steps", "--steps", min=1, help="of denoising")] = 20,
    image_seed: Annotated[int, Option(help="with prompt and seed it decides the noise, as in runs")] = 0,
    chunk_size: Annotated[int, Option(min=1, help="images at once; changes none beyond float noise")] = 8,
    device: Device = "auto",
    out: Annotated[str, Option(help="a folder")] = "outputs/generate",
    model: Annotated[str, Option(help="a choice of conf/model; a folder of your own: --set model.path=FOLDER")] = "",
    method: Annotated[str, Option(help="a choice of conf/method; default: the one that made the concepts")] = "",
    frequency: Annotated[str, Option(help="a choice of conf/frequency")] = "",
    scheduler: Annotated[str, Option(help="a choice of conf/scheduler")] = "",
    more: Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE", help="any other setting of these")] = None,
) -> None:
    """Images of prompts, steered by concept files, each beside its unedited twin; a manifest and a grid."""


@app.starts("hspace_exp.generation.steer:show")
def steer(files: Files, prompt: Annotated[str, Option(help="of the snippet")] = "a photo of a doctor") -> None:
    """Print the lines of Python that apply concept files to a pipeline of diffusers."""


@app.starts("hspace_exp.results.evaluate:main", epilog=AS_IT_IS + HELP["evaluate"])
def evaluate(
    context: Context,
    images: Annotated[Path, Argument(help="a run's folder, a folder or a table of images")],
    reference: Annotated[Path | None, Option(help="a folder of images to compare with")] = None,
    attribute: Annotated[str, Option(help="or two at once, gender+skin_tone, with targets female+dark")] = "gender",
    evaluator: Annotated[str, Option(help="a choice of conf/evaluator; default: that of the images' run")] = "",
    out: Annotated[Path | None, Option(help="a folder; default: outputs/evaluate/NAME/ATTRIBUTE")] = None,
    name: Annotated[str, Option(help="in tables; default: the name of the images' folder")] = "",
    more: Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE", help="e.g. evaluator.weights=FILE")] = None,
    device: Device = "auto",
    repeats: Annotated[int, Option(min=0, help="of the bootstrap")] = 1000,
    batch: Annotated[int, Option(min=1, help="images at once")] = 32,
    seed: Seed = 0,
) -> None:
    """Score images made elsewhere, or a run's again, with the code that scores runs."""


@app.starts("hspace_exp.results.compare:run")
def compare(
    first: Annotated[Path, Argument(help="the folder of a run or of an evaluation")],
    second: Annotated[Path, Argument(help="another one, of the same images")],
    metrics: Annotated[str, Option(metavar="A,B", help="these metrics; default: the standard ones")] = "",
    repeats: Annotated[int, Option(min=1, help="permutations")] = 10_000,
    seed: Seed = 0,
) -> None:
    """Do two runs differ by more than chance? Paired permutation tests, a row a metric."""


@app.starts("hspace_exp.results.tables.formats:write")
def tables(
    paths: Records,
    form: Annotated[str, Option("--format", help="markdown or latex")] = "markdown",
    out: Annotated[Path | None, Option(help="write there instead of printing")] = None,
    metrics: Annotated[str, Option(metavar="A,B", help="these metrics, or all; default: the standard ones")] = "",
) -> None:
    """Compare runs by their records, in one table an experiment."""


@app.starts("hspace_studio.report:write")
def report(
    paths: Records,
    out: Annotated[Path | None, Option(help="the page; default: report.html in the first PATH")] = None,
    title: Annotated[str, Option(help="default: the first PATH")] = "",
) -> None:
    """One HTML page about a run or a folder of runs."""


@exchange.starts("hspace_exp.concepts.files:show")
def show(files: Files, as_json: Annotated[bool, Option("--json", help="plain data instead of cards")] = False) -> None:
    """What files hold: model, shape, method, strength."""


@exchange.starts("hspace_exp.concepts.files:take", name="import")
def take(
    source: Annotated[Path, Argument(help="a .pt or .pth file of another project")],
    folder: Annotated[Path, Argument(help="where <name>.safetensors and their cards go")],
    names: Annotated[Path | None, Option(help='JSON {"name": row or column}; default: the published ones')] = None,
    h_shape: Annotated[tuple[int, int, int] | None, Option(help="(C, H, W) of h of the model they are for")] = None,
    model: Annotated[str | None, Option(help="that model's name; default: the one of the format's authors")] = None,
    revision: Annotated[str, Option(help="of that model")] = "unknown",
    licence: Annotated[str, Option(help="of the file; these files state none")] = "unknown",
) -> None:
    """Make concept files of another project's file."""


@exchange.starts("hspace_exp.concepts.files:export")
def export(
    files: Files,
    target: Annotated[Path, Argument(help="the .pt or .pth file; <target>.json gets the names")],
    form: Annotated[str, Option("--format", help="concept_emb, of channel vectors, or fc1, of spatial ones")],
) -> None:
    """Write concept files the way another project reads them."""


@exchange.starts("hspace_exp.concepts.algebra:write")
def vector_math(
    target: Annotated[Path, Argument(help="NAME.safetensors, a new file; its card says how it was made")],
    add: Annotated[list[Path], Option(metavar="FILE", help="again for several")],
    subtract: Annotated[list[Path] | None, Option(metavar="FILE", help="again for several")] = None,
    orthogonal_to: Annotated[list[Path] | None, Option(metavar="FILE", help="again for several")] = None,
    scale: Annotated[float, Option(help="of the sum")] = 1.0,
) -> None:
    """Add, subtract, orthogonalise and scale concept files; print their cosines."""


app.add_typer(exchange, name="concepts")


@app.starts("hspace_exp.doctor.overview:tell")
def doctor(
    overrides: Overrides = None,
    experiment: Annotated[str, Option(help="check this one alone, with the overrides")] = "",
) -> None:
    """What runs need, what of it is here, and how to get the rest; 1 where the experiment lacks something."""


@app.starts("hspace_reproduce.reproduce:reproduce", epilog=HELP["reproduce"])
def reproduce(
    overrides: Overrides = None,
    protocol: Annotated[str, Option(help="smoke, demo, full or paper")] = "demo",
    model: Annotated[str, Option(help="a choice of conf/model")] = "avatars",
    experiments: Annotated[str, Option(metavar="A,B", help="only these")] = "",
    methods: Annotated[str, Option(metavar="A,B", help="only these, where an experiment compares methods")] = "",
    jobs: Annotated[int, Option(min=1, help="runs of a sweep side by side, over all GPUs")] = 1,
    out: Annotated[Path, Option(help="of tables")] = Path("tables"),
    list_only: Annotated[bool, Option("--list", help="only say what would run, and what is done")] = False,
    tables_only: Annotated[bool, Option("--tables-only", help="run nothing: tables of what is done")] = False,
) -> None:
    """Make the runs that tables need, then tables and figures from their records."""


@app.starts("hspace_studio.__main__:main", add_help_option=False, context_settings={"ignore_unknown_options": True})
def studio(arguments: Annotated[list[str] | None, Argument()] = None) -> None:
    """A local page to feel concepts with, in the browser; needs the extra `studio`."""
