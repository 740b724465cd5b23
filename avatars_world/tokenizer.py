"""The embedded world's own CLIP tokenizer: every word of its captions is one token, all else falls back to pieces."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
MAX_LENGTH = 24
# CLIP's own split pattern: words, single digits, runs of punctuation.
_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def train_tokenizer(texts: Iterable[str], max_length: int = MAX_LENGTH) -> CLIPTokenizer:
    """Train byte-pair merges until every word of ``texts`` is a single token.

    Printable ASCII is covered character by character, so an unknown word is split into known pieces and never lost.

    Args:
        texts: captions or words; case is ignored.
        max_length: tokens a prompt may have, the two special ones included.

    Returns:
        A ``transformers.CLIPTokenizer`` that pads with the end token, as Stable Diffusion 1.x does.
    """
    from transformers import CLIPTokenizer

    words = sorted({w for text in texts for w in re.findall(r"[^\W\d_]+|\d|[^\w\s]+", text.lower())})
    characters = [c for c in string.printable if not c.isspace() and not c.isupper()]
    # "c" alone gives c</w>, "cc" gives the inner piece c: both forms of every character exist.
    corpus = [*words, *characters, *(c * 2 for c in characters)]
    core = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=EOS))
    core.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    # The trainer numbers what ends a word by a hash that is new in every process, and breaks ties by these numbers:
    # named beforehand, they and all that follows are the same in each.
    trainer = trainers.BpeTrainer(
        vocab_size=65_536,
        min_frequency=1,
        special_tokens=[BOS, EOS, *(f"{c}</w>" for c in characters)],
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    core.train_from_iterator(corpus, trainer)
    state = json.loads(core.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in state["merges"]]
    return CLIPTokenizer(vocab=state["vocab"], merges=merges, model_max_length=max_length)
