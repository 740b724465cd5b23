from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from hspace_exp.avatars.labelled import COUNT, PARTS, load_labelled
from hspace_exp.avatars.world import ATTRIBUTES, PROFESSIONS
from hspace_exp.errors import UserError


def test_files_hold_images_masks_and_labels() -> None:
    renders = load_labelled()
    assert renders.images.shape == (COUNT, 128, 128, 3)
    assert renders.images.dtype == np.uint8
    assert renders.parts.shape == (COUNT, 128, 128)
    assert set(renders.labels) == set(ATTRIBUTES)
    parts = sum(renders.mask(part).astype(int) for part in PARTS[1:])
    assert np.array_equal(parts, renders.mask("person").astype(int))  # disjoint, and together the person
    assert (renders.mask("skin").mean((1, 2)) > 0.02).all()
    with pytest.raises(UserError, match="unknown part 'hair'"):
        renders.mask("hair")


@pytest.mark.parametrize("count", range(36, COUNT + 1, 36))
def test_every_36_are_balanced(count: int) -> None:
    labels = {name: values[:count] for name, values in load_labelled().labels.items()}
    assert set(Counter(labels["subject"])) == set(PROFESSIONS)
    for values in labels.values():
        assert len(set(Counter(values).values())) == 1
    triples = Counter(zip(labels["gender"], labels["age"], labels["skin_tone"], strict=True))
    assert len(triples) == 12
    assert set(triples.values()) == {count // 12}


def test_attributes_are_crossed() -> None:
    labels = load_labelled().labels
    for one, other in combinations(ATTRIBUTES, 2):
        pairs = Counter(zip(labels[one], labels[other], strict=True))
        even = COUNT / len(set(labels[one])) / len(set(labels[other]))
        assert even - 1 <= min(pairs.values()), (one, other)
        assert max(pairs.values()) <= even + 1, (one, other)
