import numpy as np
import pytest

from avatars_world.labelled import SEED, SIZE, draw, pack, spec_of
from avatars_world.render import part_bits, render
from hspace_exp.avatars.labelled import COUNT, load_labelled
from hspace_exp.avatars.world import ATTRIBUTES

pytest.importorskip("python_avatars")
pytest.importorskip("resvg_py")


@pytest.mark.parametrize("i", range(0, COUNT, 23))
def test_shipped_renders_are_what_is_drawn(i: int) -> None:
    shipped, spec = load_labelled(), spec_of(i)
    drawn = render(spec, SEED + i, SIZE)
    assert np.array_equal(shipped.images[i], drawn.image)
    assert np.array_equal(shipped.parts[i], part_bits(drawn.masks))
    assert all(shipped.labels[name][i] == getattr(spec, name) for name in ATTRIBUTES)


def test_packing_is_repeatable() -> None:
    assert pack(draw(2, 16)) == pack(draw(2, 16))
