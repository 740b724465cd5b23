import numpy as np
import pytest

from avatars_world.specs import HOME_SCENE, P_HOME_SCENE, Spec, sample_spec, scene_probabilities
from hspace_exp.avatars.world import SCENES, SUBJECTS, load_truth
from hspace_exp.errors import UserError


def test_scenes_are_even_but_for_the_own_one() -> None:
    assert set(scene_probabilities("person").values()) == {1 / len(SCENES)}
    for subject, home in HOME_SCENE.items():
        probabilities = scene_probabilities(subject)
        assert tuple(probabilities) == SCENES
        assert probabilities[home] == P_HOME_SCENE == max(probabilities.values())
        assert sum(probabilities.values()) == pytest.approx(1.0)


def test_samples_follow_the_table() -> None:
    rng = np.random.default_rng(0)
    specs = [sample_spec(rng, "nurse") for _ in range(4000)]
    row = load_truth()["nurse"]

    def share(attribute: str, value: str) -> float:
        return sum(getattr(spec, attribute) == value for spec in specs) / len(specs)

    # 4 standard errors at N = 4000 are at most 0.032
    assert share("gender", "female") == pytest.approx(row["gender"]["female"], abs=0.032)
    assert share("age", "old") == pytest.approx(row["age"]["old"], abs=0.032)
    assert share("skin_tone", "light") == pytest.approx(row["skin_tone"]["light"], abs=0.032)
    assert share("skin_tone", "dark") == pytest.approx(row["skin_tone"]["dark"], abs=0.032)
    assert share("scene", "hospital") == pytest.approx(0.3, abs=0.032)


def test_equal_states_give_equal_specs_and_subjects_are_all_drawn() -> None:
    first, second = np.random.default_rng(7), np.random.default_rng(7)
    specs = [sample_spec(first) for _ in range(600)]
    assert specs == [sample_spec(second) for _ in range(600)]
    assert {spec.subject for spec in specs} == set(SUBJECTS)


def test_fixing_one_attribute_leaves_the_other_draws_alone() -> None:
    for seed in range(30):
        free = sample_spec(np.random.default_rng(seed), "guard")
        fixed = sample_spec(np.random.default_rng(seed), "guard", gender="female")
        assert fixed.gender == "female"
        assert (fixed.age, fixed.skin_tone, fixed.scene) == (free.age, free.skin_tone, free.scene)


def test_unknown_values_list_the_choices() -> None:
    with pytest.raises(UserError, match="Did you mean 'nurse'"):
        Spec("nurze", "female", "old", "tan", "city")
    with pytest.raises(UserError, match="light, tan, dark"):
        Spec("nurse", "female", "old", "green", "city")
    with pytest.raises(UserError, match="skin_tone"):
        sample_spec(np.random.default_rng(0), "nurse", skin="dark")
    with pytest.raises(UserError, match="female, male"):
        sample_spec(np.random.default_rng(0), "nurse", gender="woman")
