"""Pictures of the page."""

from __future__ import annotations

import numpy as np

from hspace_studio.pictures import GAP, LINE, gate_over, grid, snippet
from hspace_studio.session import Asked, Shown


def test_colour_is_where_the_gate_is_open() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    assert np.ptp(gate_over(image, np.zeros((2, 2))), axis=-1).max() == 0  # grey
    opened = gate_over(image, np.ones((2, 2)))
    np.testing.assert_array_equal(opened[0, 0], [146, 99, 70])  # 0.7 * 100 + 0.3 * (255, 96, 0)
    half = gate_over(image, np.array([[0.0, 1.0]]))
    assert np.ptp(half[0, 0]) < np.ptp(half[0, -1])


def test_a_grid_shows_each_picture_and_its_edit_below_it() -> None:
    before = np.stack([np.full((16, 32, 3), 20 * i, np.uint8) for i in range(9)])
    made = grid(Shown(before, before + 1, ("female",) * 8 + ("",)), "gender")
    assert made.shape == (2 * (2 * (16 + LINE) + GAP) - GAP, 8 * (32 + GAP) - GAP, 3)
    for i in range(9):
        left, top = i % 8 * (32 + GAP), i // 8 * (2 * (16 + LINE) + GAP)
        assert (made[top : top + 16, left : left + 32] == 20 * i).all()
        below = top + 16 + LINE
        assert (made[below : below + 16, left : left + 32] == 20 * i + 1).all()


def test_a_snippet_quotes_whatever_a_prompt_holds() -> None:
    prompt = 'a "photo"; of \'him\'\\ {x}\n""")'
    code = snippet(Asked(prompt, "x", 1.5), "x", "'/a model'", "'x.safetensors'", "cuda:0", "bfloat16")
    assert repr(prompt) in code
    assert 'torch_dtype=torch.bfloat16).to("cuda:0")' in code
    compile(code, "snippet", "exec")
