from dataclasses import replace

import numpy as np
import pytest

from avatars_world import hats, outfits, people, props
from avatars_world.specs import Spec
from hspace_exp.avatars.world import PROFESSIONS, SKIN_TONES

WOMAN = Spec("person", "female", "young", "light", "office")


def test_every_profession_has_its_own_outfit_and_prop() -> None:
    assert tuple(sorted(outfits.OUTFITS)) == tuple(sorted(PROFESSIONS))
    carried = [outfit.prop for outfit in outfits.OUTFITS.values()]
    assert len(set(carried)) == len(PROFESSIONS)
    assert all(props.prop(name)[0].startswith("<g") for name in carried)
    assert set(hats.CROWN_COVERING) <= {outfit.hat for outfit in outfits.OUTFITS.values()}


def test_hair_styles_of_women_and_men_are_disjoint() -> None:
    assert not set(people.HAIR["female"]) & set(people.HAIR["male"])


def test_a_seed_keeps_what_the_spec_does_not_change() -> None:
    for seed in range(20):
        young, old = people.look(WOMAN, seed), people.look(replace(WOMAN, age="old"), seed)
        assert old.hair == young.hair
        assert old.skin == young.skin
        assert old.mouth == young.mouth
        assert old.hair_colour in people.OLD_HAIR_COLOURS
        assert young.hair_colour not in people.OLD_HAIR_COLOURS
        man = people.look(replace(WOMAN, gender="male"), seed)
        assert (man.skin, man.hair_colour, man.plain_colour) == (young.skin, young.hair_colour, young.plain_colour)


def test_looks_vary_as_documented() -> None:
    man, old = replace(WOMAN, gender="male"), replace(WOMAN, age="old")
    seeds = range(600)
    assert {people.look(WOMAN, s).hair for s in seeds} == set(people.HAIR["female"])
    assert all(people.look(WOMAN, s).facial_hair is None for s in seeds)
    bearded = np.mean([people.look(man, s).facial_hair is not None for s in seeds])
    assert bearded == pytest.approx(people.P_FACIAL_HAIR, abs=0.08)
    for spec in (WOMAN, old):
        glasses = np.mean([people.look(spec, s).glasses is not None for s in seeds])
        assert glasses == pytest.approx(people.P_GLASSES[spec.age], abs=0.08)


def test_skin_tones_are_clearly_separable() -> None:
    def luma(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    ranges = []
    for tone in SKIN_TONES:
        values = [luma(people.look(replace(WOMAN, skin_tone=tone), s).skin) for s in range(200)]
        ranges.append((min(values), max(values)))
    (light_low, _), (tan_low, tan_high), (_, dark_high) = ranges
    assert light_low - tan_high > 25
    assert tan_low - dark_high > 25
