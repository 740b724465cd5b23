"""The page: what is asked for on the left, what comes of it on the right."""

from __future__ import annotations

import html
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr
from PIL import Image

from hspace_exp.errors import UserError
from hspace_exp.models.schedulers import KINDS
from hspace_exp.results.runs import find_runs
from hspace_studio.opening import Opened, file_name
from hspace_studio.pictures import gate_over, grid
from hspace_studio.report import page as report
from hspace_studio.session import USUAL_STRENGTH, Asked, Fair, Shown

P = ParamSpec("P")
R = TypeVar("R")

ABOUT = """# Studio
Gender, age and skin tone are *presentations of an image*, as a judge reads them; never facts about people.
The model is **{model}**, on {device}. {judge}"""
NO_JUDGE = "No judge is here: start with `evaluator.weights=FILE` for one."
# Fonts of the reader's own machine: gradio's usual ones would be fetched.
FONT, FONT_MONO = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
CSS = """
.gradio-container {max-width: 1180px !important; margin: 0 auto !important; padding-top: 4px !important}
#about h1 {margin: 0 0 4px} #about p {margin: 0}
:is(#seen, #counts) table {width: 100%; border: none !important; border-collapse: collapse; font-size: 15px}
:is(#seen, #counts) tr {border: none !important}
:is(#seen, #counts) :is(td, th) {
  padding: 3px 8px; text-align: left; border: none; border-bottom: 1px solid var(--border-color-primary)
}
#seen .moved {font-weight: 700}
#picture {width: 100%; max-width: 446px; margin: 0 auto} #picture img {width: 100%; height: auto}
#gate img {width: 100%; height: 100%; object-fit: contain}
#note p {text-align: center; min-height: 3em}
#report iframe {width: 100%; height: 80vh; border: 1px solid var(--border-color-primary); background: white}
"""
IMAGE, GATE = 440, 250  # pixels of pictures on the page, at most
BAR = 110  # pixels where a bar shows how far a work is
FAIR = "### A fair batch\nSeeds from the one above on; each concept of the attribute in turn, at its file's strength."
BATCHES = (4, 8, 16, 24)
SOON, PATIENCE = 0.05, 6.0  # seconds that nobody needs to be told of, and that one waits


def serve(opened: Opened, runs: str | Path, port: int, browser: bool) -> None:
    """Show the page at 127.0.0.1 until Ctrl-C. Raises UserError: no port is free."""
    launched(opened, runs, port, browser).block_thread()


def launched(opened: Opened, runs: str | Path, port: int, browser: bool = False) -> gr.Blocks:
    """The page, served by a thread at the first free port from ``port`` on."""
    page = Page(opened, Path(runs)).blocks()
    for place in range(port, port + 20):
        try:
            _, address, _ = page.queue(default_concurrency_limit=1).launch(
                server_name="127.0.0.1", server_port=place, inbrowser=browser, prevent_thread_lock=True, quiet=True,
                share=False, ssr_mode=False, enable_monitoring=False, mcp_server=False, footer_links=[],
                theme=gr.themes.Default(font=FONT, font_mono=FONT_MONO), css=CSS,
            )  # fmt: skip
        except OSError:
            continue
        print(f"studio: {address} (Ctrl-C ends it)", flush=True)
        return page
    raise UserError(f"no port from {port} to {port + 19} is free: say --port=…")


def told(work: Callable[P, R]) -> Callable[P, R]:
    """``work``, whose errors for users are shown as such."""

    def handler(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return handler


class Page:
    """The page of one session."""

    def __init__(self, opened: Opened, runs: Path) -> None:
        """Take the session, and the folder whose runs are shown."""
        self.opened, self.session, self.runs = opened, opened.session, runs
        self._seconds = 0.0  # that the last picture took
        self._folder = tempfile.TemporaryDirectory(prefix="hspace_studio_")
        self.folder = Path(self._folder.name)

    def blocks(self) -> gr.Blocks:
        """All of it."""
        backbone, judge = self.session.backbone, self.session.judge
        about = ABOUT.format(model=backbone.name, device=backbone.device, judge="" if judge else NO_JUDGE)
        with gr.Blocks(title="hspace_exp studio", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
            gr.Markdown(about, elem_id="about")
            with gr.Tab("Pictures"):
                concept = self._pictures(page)
            with gr.Tab("Train"):
                self._train(concept)
            with gr.Tab("Runs"):
                self._runs()
        return page

    # What is asked for

    def _pictures(self, page: gr.Blocks) -> gr.Dropdown:
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                concept, strength, asked, more, draw = self._controls()
            with gr.Column(scale=5, min_width=300):
                picture = gr.ImageSlider(
                    label="Unedited | edited", format="png", max_height=IMAGE, elem_id="picture", interactive=False
                )
                note = gr.Markdown(elem_id="note")
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                gate = gr.Image(label="Where the edit can act", format="png", height=GATE, elem_id="gate", buttons=[])
            with gr.Column(scale=5, min_width=300):
                seen = gr.HTML(elem_id="seen")
                with gr.Row():
                    files = [
                        gr.DownloadButton(text, size="sm", min_width=90, elem_id=f"{text.lower()}-file")
                        for text in ("Concept", "Card", "Python")
                    ]
        code = gr.Code(label="This picture again, in Python", language="python", elem_id="code", wrap_lines=True)
        quick, whole = [picture, note, seen, gate], [picture, note, seen, gate, code, *files]
        final = {"fn": self.finished, "inputs": asked, "outputs": whole, "concurrency_id": "model"}
        ready = {"fn": self.prepare, "inputs": asked, "show_progress": "hidden", "concurrency_id": "model"}
        for trigger in (page.load, draw.click, asked[0].submit, asked[3].submit, strength.release, *more):
            trigger(**final, show_progress="minimal").then(**ready)
        strength.input(
            self.drafted, asked, quick, trigger_mode="always_last", show_progress="hidden", concurrency_id="model"
        )
        concept.input(self.strength_of, concept, strength, show_progress="hidden").then(**final).then(**ready)
        self._fair(asked)
        return concept

    def _controls(self) -> tuple[gr.Dropdown, gr.Slider, list[Any], list[Any], gr.Button]:
        names = list(self.session.concepts)
        first = "female" if "female" in names else names[0] if names else None
        prompt = gr.Textbox("a photo of a carpenter", label="Prompt", elem_id="prompt", max_lines=3)
        with gr.Row():
            concept = gr.Dropdown(names, value=first, label="Concept", elem_id="concept", min_width=130)
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed", min_width=90)
        start = self.session.strength_of(first) if first else USUAL_STRENGTH
        strength = gr.Slider(-1, 4, start, step=0.1, label="Strength", elem_id="strength", buttons=[])
        with gr.Row():
            draw = gr.Button("Draw", variant="primary", elem_id="draw", min_width=90)
            another = gr.Button("Next seed", elem_id="next", min_width=90)
        with gr.Accordion("Sampling", open=False):
            steps = gr.Slider(1, 50, 20, step=1, label="Steps", buttons=[])
            guidance = gr.Slider(1, 15, self.session.backbone.guidance_scale, step=0.5, label="Guidance", buttons=[])
            scheduler = gr.Dropdown(list(KINDS), value="native", label="Scheduler")
        asked = [prompt, concept, strength, seed, steps, guidance, scheduler]
        moved = another.click(lambda seed: int(seed) + 1, seed, seed, show_progress="hidden")
        return concept, strength, asked, [moved.then, steps.release, guidance.release, scheduler.input], draw

    @staticmethod
    def asked(*given: Any) -> Asked:
        """What the fields of the page ask for."""
        prompt, concept, strength, seed, steps, guidance, scheduler = given
        return Asked(
            prompt or "", concept or "", float(strength), int(seed or 0), int(steps), float(guidance), scheduler
        )

    def strength_of(self, name: str) -> float:
        """Where the slider goes when a concept is chosen."""
        return self.session.strength_of(name)

    # What comes of it

    def drafted(self, *given: Any) -> tuple[Any, ...]:
        """While the slider is dragged."""
        asked, started = self.asked(*given), time.monotonic()
        made, shown = told(self.session.look_ahead)(asked)
        return self._shown(shown, made, time.monotonic() - started, asked.steps)

    def prepare(self, *given: Any) -> None:
        """Once a picture is there, and took no longer than a reader waits: what makes the first move quick."""
        if self._seconds < PATIENCE and given[1]:
            told(self.session.prepare)(self.asked(*given))

    def finished(self, *given: Any) -> tuple[Any, ...]:
        """After all else: the picture in all its steps, and what can be taken along."""
        asked, started = self.asked(*given), time.monotonic()
        shown = told(self.session.look)(asked)
        self._seconds = time.monotonic() - started
        python = self.opened.snippet(asked, shown)
        (self.folder / "picture.py").write_text(python, encoding="utf-8")
        files = self._saved(asked.concept) if asked.concept else (None, None)
        looks = self._shown(shown, asked, self._seconds, asked.steps)
        return *looks, python, *files, str(self.folder / "picture.py")

    def _saved(self, name: str) -> tuple[str, str]:
        file = self.folder / file_name(name)
        if not file.exists():
            self.session.concepts[name].save(file)
        return str(file), str(file.with_suffix(".md"))

    def _shown(self, shown: Shown, made: Asked, seconds: float, steps: int) -> tuple[Any, ...]:
        before, after, gate = shown.before[0], shown.after[0], shown.gate
        over = None if gate is None else gate_over(before, gate[0])
        return (before, after), _note(shown, made, seconds, steps), _seen(shown), over

    # A fair batch

    def _fair(self, asked: list[Any]) -> None:
        gr.Markdown(FAIR)
        with gr.Row():
            count = gr.Radio(list(BATCHES), value=8, label="Images", min_width=200, elem_id="count", scale=3)
            make = gr.Button("Make", variant="primary", min_width=90, elem_id="fair")
            taken = gr.DownloadButton("Grid", min_width=90, elem_id="grid-file", interactive=False)
        counts = gr.HTML(elem_id="counts", min_height=BAR)
        picture = gr.Image(
            label="Unedited above edited",
            format="png",
            elem_id="grid",
            buttons=["fullscreen"],
            visible=False,
            show_label=False,
        )
        make.click(
            self.fair, [count, *asked], [picture, counts, taken], concurrency_id="model", show_progress_on=counts
        )

    def fair(self, count: int, *given: Any, progress: gr.Progress = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008
        """The batch as a grid, its counts, and a file of the grid."""
        batch = told(self.session.fair)(self.asked(*given), count, _telling(progress))
        made, file = grid(batch.shown, batch.attribute), self.folder / "grid.png"
        Image.fromarray(made).save(file)
        return gr.Image(made, visible=True), _counts(batch), gr.DownloadButton("Grid", str(file), interactive=True)

    # Training and runs

    def _train(self, concept: gr.Dropdown) -> None:
        gr.Markdown("A vector is learnt from images of the first prompt that the model makes itself; it stays frozen.")
        positive = gr.Textbox("a photo of an old person", label="Prompt with the concept", elem_id="positive")
        neutral = gr.Textbox("a photo of a person", label="The same without it", elem_id="neutral")
        with gr.Row():
            method = gr.Dropdown(["sdid", "focused"], value="sdid", label="Method", min_width=130, elem_id="method")
            images = gr.Slider(2, 128, 32, step=2, label="Images", min_width=130, elem_id="images")
            steps = gr.Slider(2, 1000, 300, step=2, label="Steps of training", min_width=130, elem_id="training")
        train = gr.Button("Train", variant="primary", elem_id="train")
        done = gr.Markdown(elem_id="trained", min_height=BAR)
        with gr.Row():
            files = [gr.DownloadButton(text, size="sm", min_width=90) for text in ("Concept", "Card")]
        given, made = [positive, neutral, method, images, steps], [concept, done, *files]
        train.click(self.train, given, made, concurrency_id="model", show_progress_on=done)

    def train(
        self, positive: str, neutral: str, method: str, images: int, steps: int, progress: gr.Progress = gr.Progress()  # noqa: B008
    ) -> tuple[Any, ...]:  # fmt: skip
        """A new concept, chosen on the first tab."""
        name = told(self.session.train)(positive, neutral, method, int(images), int(steps), _telling(progress))
        said = f"**{name}** is learnt, and chosen under *Pictures*. Its file states no strength: find one there."
        return gr.Dropdown(list(self.session.concepts), value=name), said, *self._saved(name)

    def _runs(self) -> None:
        with gr.Row():
            chosen = gr.Dropdown(self.found(), label=f"Finished runs below {self.runs}", elem_id="run", scale=4)
            again = gr.Button("Look again", min_width=90)
        shown = gr.HTML(elem_id="report")
        again.click(lambda: gr.Dropdown(self.found()), None, chosen)
        chosen.input(self.report, chosen, shown)

    def found(self) -> list[str]:
        """Folders of runs, below the one whose runs are shown."""
        try:
            return [str(run.folder.relative_to(self.runs)) for run in find_runs([self.runs])]
        except UserError:
            return []

    def report(self, run: str) -> str:
        """The report of a run, apart from this page, which it cannot reach."""
        if run not in self.found():
            raise gr.Error(f"there is no run {run!r} any more: look again")
        folder = self.runs / run
        made = report(told(find_runs)([folder]), f"Report of {folder}")
        return f'<iframe title="Report" sandbox="allow-scripts" srcdoc="{html.escape(made)}"></iframe>'


def _telling(progress: gr.Progress) -> Callable[[str, int, int], None]:
    return lambda what, done, of: progress((done, of), desc=what)


def _note(shown: Shown, asked: Asked, seconds: float, steps: int) -> str:
    """What the reader is told of a picture that was made in ``asked.steps``, where ``steps`` are asked for."""
    if shown.named:
        words = ", ".join(f"“{html.escape(word)}”" for word in shown.named)
        return f"The prompt names the attribute itself ({words}), so the picture is **left alone**."
    if not asked.concept:
        return "No concept is here yet: train one, or start with `--concepts PATH`."
    if asked.strength and not shown.changed[0]:
        return f"The unedited picture shows *{html.escape(asked.concept)}* already, so nothing was edited."
    if not asked.strength:
        return "At strength 0 the picture is the unedited one."
    rest = "" if asked.steps == steps else f": a draft, let go or press *Draw* for {steps}"
    taken = f", {seconds:.1f} s" if seconds >= SOON else ""
    where = " This method acts everywhere." if shown.gate is None else ""
    return f"{html.escape(asked.concept)} at strength {asked.strength:g}{taken}, {asked.steps} steps{rest}.{where}"


def _seen(shown: Shown) -> str:
    if not shown.seen:
        return ""
    rows = []
    for attribute, ((before, after),) in shown.seen.items():
        moved = ' class="moved"' if before != after else ""
        rows.append(_row("td", moved, attribute.replace("_", " "), before, after))
    return f"<table>{_row('th', '', 'Presentation of the image', 'unedited', 'edited')}{''.join(rows)}</table>"


def _counts(batch: Fair) -> str:
    """Images of each value, and how even they are."""
    if not batch.counts:
        return "No judge is here to count what the images present."
    rows = [_row("td", "", value, str(n), str(m)) for value, (n, m) in batch.counts.items()]
    if batch.ratio:
        rows.append(_row("td", "", "deviation ratio", *(f"{ratio:.2f}" for ratio in batch.ratio)))
    head = _row("th", "", f"Presentation of the images: {batch.attribute.replace('_', ' ')}", "unedited", "edited")
    return f"<table>{head}{''.join(rows)}</table>{_floor(batch)}"


def _floor(batch: Fair) -> str:
    if batch.shown.named:
        words = html.escape(", ".join(batch.shown.named))
        return f"<p>The prompt names the attribute itself ({words}), so all are left alone.</p>"
    if batch.floor is None:
        return "<p>A concept alone in its attribute is asked of every image, so even counts are not what is wanted.</p>"
    return (
        f"<p>Deviation ratio: 0 where all values are even, 1 where one has all. Its noise floor is {batch.floor:.2f}: "
        f"what {len(batch.shown.targets)} images have on average that each draw their value evenly.</p>"
    )


def _row(cell: str, about: str, *texts: str) -> str:
    return "<tr>" + "".join(f"<{cell}{about}>{html.escape(text)}</{cell}>" for text in texts) + "</tr>"
