from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hydra import compose, initialize_config_dir

from hspace_exp.config.command_line import CONF
from hspace_exp.config.schema import register
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.io.seeding import initial_noise
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.prompt import AttributeWord, prompt_with_words
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item, plan

METHOD = Method("prompt", 1.0, "both", edit=AttributeWord())
SAMPLING = Sampling(3, lambda scheduler: make_scheduler(scheduler, "native"), chunk_size=4)
PROMPTS = {
    "female": ConceptPrompts(positive="a photo of a woman", neutral="", words="woman", adjective="female"),
    "old": ConceptPrompts(positive="a photo of an old person", neutral="", words="old", adjective=""),
}


@pytest.mark.parametrize("name", [f.stem for f in (CONF / "prompts").glob("*.yaml")])
@pytest.mark.parametrize("attribute", ["gender", "age", "skin_tone", "race"])
def test_every_template_takes_every_word(name: str, attribute: str) -> None:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"prompts={name}", f"attribute={attribute}"])
    concepts = {str(k): ConceptPrompts.of(v) for k, v in config.attribute.concepts.items()}
    templates = list(config.prompts.templates)
    for item in plan(list(config.prompts.professions), templates, len(templates), list(concepts)):
        words, before = prompt_with_words(item, concepts).split(), item.prompt.split()
        assert len(words) == len(before) + 1
        for article, noun in pairwise(words):
            if article in ("a", "an"):
                assert (article == "an") == (noun[0] in "aeiou"), words


def test_gender_takes_its_adjective_and_others_their_words() -> None:
    found = [prompt_with_words(Item("a photo of a nurse", "nurse", 0, name), PROMPTS) for name in ("female", "old", "")]
    assert found == ["a photo of a female nurse", "a photo of an old nurse", "a photo of a nurse"]
    with pytest.raises(UserError, match="Did you mean 'old'"):
        prompt_with_words(Item("a photo of a nurse", "nurse", 0, "olt"), PROMPTS)


def test_images_are_those_of_the_worded_prompt_from_the_same_noise(tiny_backbone: Backbone) -> None:
    item = Item("a photo of a nurse", "nurse", 3, "old")
    edit = METHOD.apply(PROMPTS, {})
    edited = sample_chunk(tiny_backbone, SAMPLING, [item, Item(item.prompt, "nurse", 4)], 0, edit)
    plain = sample_chunk(tiny_backbone, SAMPLING, [item, Item(item.prompt, "nurse", 4)], 0, None)
    noise = initial_noise(item.prompt, item.seed_index, tiny_backbone.latent_shape, 0)[None]
    embeds = tiny_backbone.encode_prompts(["a photo of an old nurse"])
    by_hand = tiny_backbone.decode_latents(SAMPLING(tiny_backbone, noise, embeds))
    torch.testing.assert_close(edited[:1], by_hand, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(edited[1], plain[1], rtol=1e-4, atol=1e-4)
    assert (edited[0] - plain[0]).abs().max() > 1e-3


def test_low_frequencies_of_the_unedited_run_can_be_added(tiny_backbone: Backbone) -> None:
    item = Item("a photo of a nurse", "nurse", 3, "old")
    term = LowFrequency(0.5, "original", haar_lowpass)
    without, with_term = (
        sample_chunk(tiny_backbone, SAMPLING, [item], 0, METHOD.apply(PROMPTS, {}, frequency=frequency))
        for frequency in (LowFrequency(), term)
    )
    assert (without - with_term).abs().max() > 1e-3
