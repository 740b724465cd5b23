"""The studio's command on the tiny world, and its page in a real browser."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hspace_exp.avatars import CONCEPTS, EMBEDDED
from hspace_exp.concepts.concept import load_concept
from hspace_exp.errors import UserError
from hspace_studio.__main__ import main
from hspace_studio.opening import opened
from hspace_studio.session import Asked

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
INSTALLED = all(importlib.util.find_spec(name) for name in ("gradio", "playwright")) and Path(CHROMIUM).exists()


def test_a_model_is_opened_with_a_judge_and_concepts_that_are_here(world: Path) -> None:
    found = opened([f"model.source={world}", f"evaluator.weights={world}", "device=cpu", "evaluator.labelled=0"])
    assert found.session.concepts == {}  # those of the package are another model's
    shown = found.session.look(Asked("a photo of a nurse", steps=1))
    assert {"gender", "age", "skin_tone"} <= set(shown.seen)
    assert shown.changed == [False]
    assert str(world) in found.snippet(Asked("a photo of a nurse"), shown)


def test_a_judge_that_would_be_fetched_is_left_out_and_concepts_must_fit(world: Path) -> None:
    sd15 = ["model=sd15", f"model.path={world}", "device=cpu"]
    found = opened(sd15)
    assert found.session.judge is None
    assert found.session.backbone.name == "sd15"
    with pytest.raises(UserError, match=r"concept 'female' is \(192, 8, 8\)"):
        opened(sd15, [CONCEPTS / "female.safetensors"])
    with pytest.raises(UserError, match="no concept file"):
        opened(sd15, [world / "none.safetensors"])


def test_wrong_input_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert main(["female.safetensors"]) == 2
    assert capsys.readouterr().err.startswith("error: expected settings as key=value, got 'female.safetensors'")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["--no-browser"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: the page needs gradio: in the checkout, .bootstrap/bin/uv pip install")
    assert said.count("\n") == 1


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page of the embedded model is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("studio")
    command = [sys.executable, "-m", "hspace_exp", "studio", "--no-browser", f"--port={port}", "device=cpu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GRADIO_TEMP_DIR": str(folder)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=folder, env=environment, **pipes) as server:
        assert server.stdout is not None
        said = next((line for line in server.stdout if line.startswith(("studio:", "error:"))), "nothing was said")
        assert said.startswith("studio:"), said
        yield said.split()[1]
        server.send_signal(signal.SIGINT)
        server.stdout.read()
        assert server.wait(60) == 0


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    """A browser's page with its first picture; at the end nothing went wrong, and nobody else was asked."""
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    wrong: list[str] = []
    with (
        sync_playwright() as play,
        contextlib.closing(play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])) as browser,
    ):
        found = browser.new_page(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
        found.set_default_timeout(120_000)
        found.on("request", lambda request: asked.append(request.url))
        found.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        found.on("pageerror", lambda error: wrong.append(str(error)))
        found.goto(address)
        found.wait_for_selector("#seen td")
        yield found
    assert asked
    assert [url for url in asked if not re.match(rf"{re.escape(address)}|data:|blob:", url)] == []
    assert wrong == []


def pictures(page: Any) -> list[np.ndarray]:
    """The unedited and the edited image, as the page has them."""
    links = page.eval_on_selector_all("#picture img", "some => some.map(one => one.src)")
    found = [np.asarray(Image.open(io.BytesIO(page.request.get(link).body()))) for link in dict.fromkeys(links)]
    return found if len(found) == 2 else found * 2  # images that are the same have one address


def drawn(page: Any, strength: float) -> list[np.ndarray]:
    """The pictures at a strength."""
    said = "At strength 0" if strength == 0 else f"at strength {strength:g}"
    page.fill("#strength input[type=number]", f"{strength:g}")
    page.keyboard.press("Tab")
    page.wait_for_function(
        "said => { const note = document.querySelector('#note').innerText; return note.includes(said) &&"
        " !note.includes('draft') && !document.querySelector('#note .progress-text') }",
        arg=said,
    )
    page.wait_for_timeout(500)
    return pictures(page)


needs_a_browser = pytest.mark.skipif(not INSTALLED, reason="needs gradio, playwright and chromium")


@pytest.mark.slow
@needs_a_browser
@pytest.mark.filterwarnings("ignore")
def test_moves_of_the_slider_change_the_picture_and_strength_0_does_not(page: Any) -> None:
    before, strong = drawn(page, 3)
    same, weak = drawn(page, 1)
    np.testing.assert_array_equal(same, before)
    assert (strong != before).any()
    assert (weak != strong).any()
    unedited, edited = drawn(page, 0)
    np.testing.assert_array_equal(unedited, before)
    np.testing.assert_array_equal(edited, before)
    assert "presentation of the image" in page.inner_text("#seen").lower()
    handle = page.locator("#strength input[type=range]").bounding_box()
    middle = handle["y"] + handle["height"] / 2
    page.mouse.move(handle["x"] + 0.2 * handle["width"], middle)
    page.mouse.down()
    page.mouse.move(handle["x"] + 0.8 * handle["width"], middle, steps=3)
    page.wait_for_function("document.querySelector('#note').innerText.includes('draft')")
    page.mouse.up()
    page.wait_for_function("document.querySelector('#note').innerText.includes(', 20 steps.')")
    page.fill("#prompt textarea", "a photo of an old woman")
    page.click("#draw")
    page.wait_for_function("document.querySelector('#note').innerText.includes('left alone')")
    np.testing.assert_array_equal(*pictures(page))


@pytest.mark.slow
@needs_a_browser
@pytest.mark.filterwarnings("ignore")
def test_what_is_downloaded_opens(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = drawn(page, 2)

    def downloaded(button: str) -> Path:
        with page.expect_download() as coming:
            page.click(button)
        coming.value.save_as(tmp_path / coming.value.suggested_filename)
        return tmp_path / coming.value.suggested_filename

    file, card, python = map(downloaded, ("#concept-file", "#card-file", "#python-file"))
    original = load_concept(CONCEPTS / "female.safetensors")
    assert load_concept(file).metadata() == original.metadata()
    assert card.read_text(encoding="utf-8") == original.card()
    monkeypatch.chdir(tmp_path)
    exec(python.read_text(encoding="utf-8"), {})
    with Image.open("image.png") as image:
        made = np.asarray(image).astype(int)
    np.testing.assert_allclose(made, shown[1], atol=1)  # another process may sum in other threads
    assert (made != shown[1]).mean() < 1e-3
    page.click("#count label:has-text('4') input")
    page.click("#fair")
    page.wait_for_selector("#counts table")
    assert "noise floor" in page.inner_text("#counts")
    assert np.asarray(Image.open(downloaded("#grid-file"))).shape[1] == 4 * 128 + 3 * 4


@pytest.mark.slow
@needs_a_browser
@pytest.mark.filterwarnings("ignore")
def test_a_concept_is_trained_and_the_page_fits_a_phone(page: Any) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    for tab in ("Train", "Runs", "Pictures"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
    for name in ("prompt", "concept", "strength", "draw", "picture", "seen", "code", "fair"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400
        assert box["width"] >= 90
    page.get_by_role("tab", name="Train").click()
    for name, value in (("images", 2), ("training", 4)):
        page.fill(f"#{name} input[type=number]", str(value))
        page.keyboard.press("Tab")
    page.click("#train")
    page.wait_for_selector("#trained strong")
    assert page.inner_text("#trained strong") == "old_2"
    page.get_by_role("tab", name="Pictures").click()
    assert page.input_value("#concept input") == "old_2"


def test_the_page_of_the_embedded_model_opens_with_its_concepts() -> None:
    found = opened(["device=cpu"])
    assert set(found.session.concepts) == {"female", "male", "young", "old", "light", "tan", "dark"}
    assert Path(found.source).resolve() == EMBEDDED
    assert {file.parent for file in found.files.values()} == {CONCEPTS}
