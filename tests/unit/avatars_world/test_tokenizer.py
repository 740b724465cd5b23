"""The embedded tokenizer: one token a known word, pieces for unknown ones, the same after a round trip."""

import json
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from avatars_world.captions import VOCABULARY_TEXT
from avatars_world.tokenizer import train_tokenizer
from hspace_exp.avatars.world import PROFESSIONS, SCENES
from hspace_exp.models.prompts import unknown_words


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return train_tokenizer(VOCABULARY_TEXT)


def test_every_word_of_the_world_is_one_token(tokenizer: CLIPTokenizer) -> None:
    for name in (*PROFESSIONS, *SCENES, "female", "male", "woman", "man", "elderly", "young", "light", "tan", "dark"):
        assert len(tokenizer.tokenize(name)) == len(name.split())


def test_unknown_words_fall_back_to_pieces_that_lose_nothing(tokenizer: CLIPTokenizer) -> None:
    pieces = tokenizer.tokenize("a zyxwv nurse!")
    assert "".join(pieces).replace("</w>", "") == "azyxwvnurse!"
    assert tokenizer.unk_token_id not in tokenizer("a zyxwv nurse!").input_ids[1:-1]
    assert unknown_words(tokenizer, "A photo of a zyxwv Nurse in the FOREST") == ["zyxwv"]


def test_padding_and_special_tokens_follow_stable_diffusion(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("a photo of a nurse", padding="max_length").input_ids
    assert len(ids) == tokenizer.model_max_length == 24
    assert ids[0] == tokenizer.bos_token_id
    assert set(ids[6:]) == {tokenizer.eos_token_id}


def test_saved_and_loaded_tokenizer_agrees(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    for text in ("a photo of an old dark-skinned construction worker who is a woman", "strange wörds 42"):
        assert loaded(text).input_ids == tokenizer(text).input_ids


def test_training_again_gives_the_same_numbers_and_merges() -> None:
    text = ["a photo of a nurse or a carpenter in the forest"]
    first, second = (json.loads(train_tokenizer(text).backend_tokenizer.to_str())["model"] for _ in range(2))
    assert first["vocab"] == second["vocab"]
    assert first["merges"] == second["merges"]
