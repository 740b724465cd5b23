"""Prompts to conditioning: tokenising, encoding, and knowing which tokens carry the content."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hspace_exp.errors import UserError

log = logging.getLogger(__name__)

# Below this size a vocabulary is a closed world (CLIP's own has 49,408), so unknown words deserve a warning.
SMALL_VOCABULARY = 20_000


@dataclass(frozen=True)
class PromptEmbeds:
    """Conditioning of B prompts; one class for Stable Diffusion and SDXL."""

    encoder_hidden_states: Tensor  # (B, L, D) text features that cross-attention reads
    content_mask: Tensor  # (B, L) bool, True on content tokens: not on BOS, EOS or padding
    pooled: Tensor | None = None  # (B, P) pooled text features, SDXL only
    time_ids: Tensor | None = None  # (B, 6) original size, crop corner and target size, SDXL only
    attention_mask: Tensor | None = None  # (B, L) 1 on tokens that are read, not padding; T5 only

    def __len__(self) -> int:
        """Number of prompts."""
        return self.encoder_hidden_states.shape[0]

    @property
    def read(self) -> Tensor | None:
        """(B, L) bool, True on tokens that cross-attention reads; None: all."""
        return None if self.attention_mask is None else self.attention_mask.bool()

    def _map(self, function: Callable[[Tensor], Tensor]) -> PromptEmbeds:
        mapped: dict[str, Any] = {k: None if value is None else function(value) for k, value in vars(self).items()}
        return PromptEmbeds(**mapped)

    def expand(self, n: int) -> PromptEmbeds:
        """The whole batch n times: [a, b] becomes [a, b, a, b] for n = 2."""
        return self._map(lambda x: x.repeat(n, *[1] * (x.ndim - 1)))

    def index(self, rows: Tensor | slice | Sequence[int]) -> PromptEmbeds:
        """The chosen rows, in the order given."""
        return self._map(lambda x: x[rows])

    @staticmethod
    def cat(parts: Sequence[PromptEmbeds]) -> PromptEmbeds:
        """One batch out of several, e.g. ``cat([unconditional, conditional])`` for guidance."""
        columns = {name: [getattr(part, name) for part in parts] for name in vars(parts[0])}
        joined: dict[str, Any] = {k: None if same[0] is None else torch.cat(same) for k, same in columns.items()}
        return PromptEmbeds(**joined)


def unknown_words(tokenizer: Any, prompt: str) -> list[str]:
    """Words of ``prompt`` that are not one token of ``tokenizer`` each, in order of appearance."""
    vocabulary = tokenizer.get_vocab()
    words = re.findall(r"[^\W\d_]+", prompt.lower())
    return [w for w in dict.fromkeys(words) if not {f"{w}</w>", f"\u2581{w}"} & vocabulary.keys()]


class PromptEncoder:
    """Text encoders and tokenizers of one pipeline behind one call; every prompt is encoded once.

    Stable Diffusion 1.x/2.x: one encoder, last layer. SDXL: two encoders, penultimate layers joined, the second one's
    pooled output. PixArt: T5, last layer, with the mask of its tokens. As in diffusers, an empty prompt means zeros for
    SDXL models that ask for it.
    """

    def __init__(
        self,
        tokenizers: Sequence[Any],
        text_encoders: Sequence[Any],
        zeros_for_empty: bool | None = None,
        most: int | None = None,
    ) -> None:
        """Take the tokenizers and frozen text encoders in the pipeline's order: one of each, or SDXL's two.

        ``zeros_for_empty`` is the pipeline's ``force_zeros_for_empty_prompt``; None: as its family does. ``most``
        tokens are encoded; None: as many as the tokenizers and encoders take.
        """
        self.tokenizers = list(tokenizers)
        self.text_encoders = list(text_encoders)
        t5 = self.text_encoders[0].config.model_type == "t5"
        self.family, self._most = "t5" if t5 else "sd" if len(self.text_encoders) == 1 else "sdxl", most
        self.zeros_for_empty = self.family == "sdxl" if zeros_for_empty is None else zeros_for_empty
        self._cache: dict[str, PromptEmbeds] = {}
        self._warned: set[str] = set()

    @property
    def max_length(self) -> int:
        """Tokens that a prompt may have, BOS and EOS included."""
        lengths = [t.model_max_length for t in self.tokenizers] + ([] if self._most is None else [self._most])
        known = (getattr(e.config, "max_position_embeddings", None) for e in self.text_encoders)  # T5 has no such bound
        return min(*lengths, *(one for one in known if one is not None))

    def clear(self) -> None:
        """Forget the cached prompts (after a change of device or type)."""
        self._cache.clear()

    def check(self, prompt: str) -> None:
        """Refuse a prompt that is too long; warn, once, of words that a small vocabulary does not hold."""
        tokenizer = self.tokenizers[0]
        n = len(tokenizer(prompt, verbose=False).input_ids)
        if n > self.max_length:
            raise UserError(
                f"prompt has {n - 2} tokens, this model takes {self.max_length - 2}: shorten {prompt!r} "
                "(nothing is cut off silently)"
            )
        if len(tokenizer) >= SMALL_VOCABULARY:
            return
        unknown = [w for w in unknown_words(tokenizer, prompt) if w not in self._warned]
        if unknown:
            self._warned.update(unknown)
            log.warning("words the model has never seen, spelled out letter by letter: %s", ", ".join(unknown))

    def __call__(self, prompts: Sequence[str]) -> PromptEmbeds:
        """Encode prompts; ``time_ids`` are left to the caller, which knows the image size."""
        if isinstance(prompts, str):
            prompts = [prompts]
        missing = [p for p in dict.fromkeys(prompts) if p not in self._cache]
        for prompt in missing:
            self.check(prompt)
            # The cache outlives the caller's context: an inference tensor in it would break training later.
            with torch.inference_mode(False), torch.no_grad():
                text = prompt.lower().strip() if self.family == "t5" else prompt  # as diffusers' pipelines do
                self._cache[prompt] = self._encode(text)
        return PromptEmbeds.cat([self._cache[p] for p in prompts])

    def _encode(self, prompt: str) -> PromptEmbeds:
        options = {"padding": "max_length", "max_length": self.max_length, "return_tensors": "pt"}
        tokens = [tokenizer(prompt, **options) for tokenizer in self.tokenizers]
        masks = [own.attention_mask if self.family == "t5" else None for own in tokens]  # CLIP reads its padding, too
        outputs = [
            encoder(
                own.input_ids.to(encoder.device),
                attention_mask=None if mask is None else mask.to(encoder.device),
                output_hidden_states=True,
            )
            for encoder, own, mask in zip(self.text_encoders, tokens, masks, strict=True)
        ]
        if self.family == "sdxl":
            hidden = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
            pooled = outputs[-1].text_embeds
        else:
            hidden, pooled = outputs[0].last_hidden_state, None
        if prompt == "" and self.zeros_for_empty:
            hidden = torch.zeros_like(hidden)
            pooled = None if pooled is None else torch.zeros_like(pooled)
        first, ids = self.tokenizers[0], tokens[0].input_ids
        special = (ids == first.bos_token_id) | (ids == first.eos_token_id)
        content = tokens[0].attention_mask.bool() & ~special
        mask = None if masks[0] is None else masks[0].to(hidden.device)
        return PromptEmbeds(hidden, content.to(hidden.device), pooled, attention_mask=mask)

    def word_mask(self, prompt: str, words: str) -> Tensor:
        """(L,) bool: the tokens of ``words`` (one word or a phrase) where they first occur in ``prompt``.

        Raises UserError: the words do not occur in the prompt.
        """
        tokenizer = self.tokenizers[0]
        ids = tokenizer(prompt, padding="max_length", max_length=self.max_length).input_ids
        wanted = tokenizer(words, add_special_tokens=False).input_ids
        for start in range(len(ids) - len(wanted) + 1):
            if wanted and ids[start : start + len(wanted)] == wanted:
                mask = torch.zeros(len(ids), dtype=torch.bool)
                mask[start : start + len(wanted)] = True
                return mask
        raise UserError(f"expected the words {words!r} in the prompt, got {prompt!r}: name words that it contains")
