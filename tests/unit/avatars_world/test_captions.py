import re

import numpy as np
import pytest

from avatars_world.captions import VOCABULARY_TEXT, attribute_words, caption, plain_text
from avatars_world.claims import MENTION_PROBABILITY, Claim, claim_is_true, sample_claim, truth_matrix
from avatars_world.specs import Spec, sample_spec
from hspace_exp.avatars.world import AGES, ATTRIBUTES, GENDERS, SKIN_TONES
from hspace_exp.errors import UserError

NURSE = Spec("nurse", "male", "old", "dark", "forest")


def words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|\d|[^\w\s]+", text)


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        (Claim(), "a photo of a person"),
        (Claim(subject="person"), "a photo of a person"),
        (Claim(gender="female"), "a photo of a woman"),
        (Claim(subject="CEO"), "a photo of a ceo"),
        (Claim(age="old"), "a photo of an old person"),
        (Claim(skin_tone="dark"), "a photo of a dark-skinned person"),
        (Claim(scene="beach"), "a photo of a person on the beach"),
        (Claim(subject="nurse", gender="female", scene="forest"), "a photo of a female nurse in the forest"),
        (Claim("nurse", "male", "old", "dark", "office"), "a photo of an old dark-skinned male nurse in the office"),
    ],
)
def test_plain_wording(claim: Claim, text: str) -> None:
    assert plain_text(claim) == text


def test_a_caption_names_exactly_what_it_should() -> None:
    """Words of other values never occur; words of the mentioned ones always do."""
    rng = np.random.default_rng(0)
    for _ in range(3000):
        spec = sample_spec(rng)
        mention = [name for name in ATTRIBUTES if rng.random() < 0.5]
        found = set(words(caption(spec, rng, mention=mention)))
        for attribute, values in (("gender", GENDERS), ("age", AGES), ("skin_tone", SKIN_TONES)):
            for value in values:
                named = not found.isdisjoint(attribute_words(attribute, value))
                assert named == (attribute in mention and getattr(spec, attribute) == value)
        assert (spec.scene in found) == ("scene" in mention)
        if "subject" in mention and not (spec.subject == "person" and "gender" in mention):
            assert set(attribute_words("subject", spec.subject)) <= found


def test_captions_are_lower_case_short_and_within_the_vocabulary() -> None:
    rng, vocabulary, seen = np.random.default_rng(1), set(words(" ".join(VOCABULARY_TEXT))), set()
    for i in range(12000):
        text = caption(sample_spec(rng), rng, mention=None if i % 2 else tuple(ATTRIBUTES))
        assert text == text.lower()
        assert len(words(text)) <= 22
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  ", text), text
        seen.update(words(text))
    assert seen == vocabulary


def test_default_mention_shares() -> None:
    rng = np.random.default_rng(2)
    claims = [sample_claim(NURSE, rng) for _ in range(4000)]
    for attribute, probability in MENTION_PROBABILITY.items():
        share = np.mean([getattr(claim, attribute) is not None for claim in claims])
        assert share == pytest.approx(probability, abs=0.032)


def test_equal_states_give_equal_captions() -> None:
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    texts = [caption(NURSE, first) for _ in range(50)]
    assert texts == [caption(NURSE, second) for _ in range(50)]
    assert len(set(texts)) > 25


@pytest.mark.parametrize(
    ("claim", "truth"),
    [
        (Claim(), True),
        (Claim(subject="person"), True),
        (Claim(subject="nurse", scene="forest"), True),
        (Claim(subject="doctor"), False),
        (Claim(subject="person", gender="female"), False),
        (Claim("nurse", "male", "old", "dark", "city"), False),
    ],
)
def test_truth_of_claims(claim: Claim, truth: bool) -> None:
    assert claim_is_true(claim, NURSE) is truth


def test_truth_matrix_agrees_with_the_single_question() -> None:
    rng = np.random.default_rng(4)
    specs = [sample_spec(rng) for _ in range(40)]
    claims = [sample_claim(spec, rng) for spec in specs]
    claims += [Claim(gender=value) for value in GENDERS] + [Claim(subject="person"), Claim()]
    matrix = truth_matrix(specs, claims)
    assert matrix.dtype == bool
    assert matrix.tolist() == [[claim_is_true(claim, spec) for claim in claims] for spec in specs]
    assert matrix.diagonal().all()
    assert not matrix.all()


def test_attribute_words_tell_values_apart() -> None:
    assert attribute_words("gender", "female")[:2] == ["female", "woman"]
    assert attribute_words("subject", "construction worker") == ["construction", "worker"]
    assert attribute_words("subject", "CEO") == ["ceo"]
    for attribute, values in ATTRIBUTES.items():
        named = [word for value in values for word in attribute_words(attribute, value)]
        assert len(named) == len(set(named))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UserError, match=r"unknown attribute 'skin'.*skin_tone"):
        caption(NURSE, np.random.default_rng(0), mention=["skin"])
    with pytest.raises(UserError, match="female, male"):
        Claim(gender="woman")
    with pytest.raises(UserError, match="young, old"):
        attribute_words("age", "elderly")
