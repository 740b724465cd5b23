"""Prompts to conditioning: tokenising, encoding, and knowing which tokens carry the content."""

from __future__ import annotations

import functools
import inspect
import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.errors import UserError

log = logging.getLogger(__name__)

# Below this size a vocabulary is a closed world (CLIP's own has 49,408), so unknown words deserve a warning.
SMALL_VOCABULARY = 20_000
# Whose tokens text features are of, by the tokenizers' places, where that is not the first one alone.
READ = {"sd3": (0, 2), "flux": (1,)}


@dataclass(frozen=True)
class PromptEmbeds:
    """Conditioning of B prompts; one class for all families."""

    encoder_hidden_states: Tensor  # (B, L, D) text features that cross-attention reads
    content_mask: Tensor  # (B, L) bool, True on content tokens: not on BOS, EOS or padding
    pooled: Tensor | None = None  # (B, P) pooled text features, of SDXL, SD3, FLUX
    time_ids: Tensor | None = None  # (B, 6) original size, crop corner and target size, SDXL only
    attention_mask: Tensor | None = None  # (B, L) 1 on tokens that are read, not padding; of PixArt and SANA

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


@functools.cache
def _instruction() -> str:
    """What SANA's pipeline puts before prompts by default, for Gemma to elaborate on them (Xie et al., 2025)."""
    from diffusers import SanaPipeline  # seconds, which importing this need not take

    lines = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
    return "\n".join(lines)


class PromptEncoder:
    """Text encoders and tokenizers of one pipeline behind one call; every prompt is encoded once.

    Stable Diffusion 1.x/2.x (``sd``): one encoder, last layer. ``sdxl``: two, penultimate layers joined, the second
    one's pooled output. PixArt (``t5``): T5, last layer, with the mask of its tokens. ``sd3``: penultimate layers of
    two CLIPs joined, then T5's tokens behind theirs, or zeros where the pipeline lacks T5; both pooled outputs.
    ``flux``: T5, and CLIP's pooled output. SANA (``gemma``): Gemma 2, last layer, with the mask of its tokens, behind
    the instruction that its pipeline puts before all but empty prompts. As in diffusers, an empty prompt means zeros
    for SDXL models that ask for it.
    """

    def __init__(
        self,
        tokenizers: Sequence[Any],
        text_encoders: Sequence[Any],
        zeros_for_empty: bool | None = None,
        most: int | None = None,
        family: str | None = None,
        width: int = 0,
    ) -> None:
        """Take the tokenizers and frozen text encoders in the pipeline's order, those that are there.

        ``zeros_for_empty`` is the pipeline's ``force_zeros_for_empty_prompt``; None: as its family does. ``most``
        tokens are encoded by what is no CLIP; None: as many as the tokenizers and encoders take. ``family`` is by
        default that of Stable Diffusion 1.x/2.x, SDXL or PixArt, ``width`` that of T5's features where it may lack.
        """
        self.tokenizers, self.text_encoders = list(tokenizers), list(text_encoders)
        t5 = self.text_encoders[0].config.model_type == "t5"
        self.family = family or ("t5" if t5 else "sd" if len(self.text_encoders) == 1 else "sdxl")
        self._masked = self.family in ("t5", "gemma")  # CLIP, and T5 beside it, read their padding, too
        self._most, self._width = most, width
        self.zeros_for_empty = self.family == "sdxl" if zeros_for_empty is None else zeros_for_empty
        self._cache: dict[str, PromptEmbeds] = {}
        self._warned: set[str] = set()

    @property
    def lengths(self) -> list[int]:
        """Tokens that a prompt may have for each tokenizer, BOS and EOS included."""
        found = []
        for tokenizer, encoder in zip(self.tokenizers, self.text_encoders, strict=True):
            known = getattr(encoder.config, "max_position_embeddings", None)  # T5 has no such bound
            most = None if encoder.config.model_type.startswith("clip") else self._most
            found.append(min(one for one in (tokenizer.model_max_length, known, most) if one is not None))
        return found

    def clear(self) -> None:
        """Forget the cached prompts (after a change of device or type)."""
        self._cache.clear()

    def check(self, prompt: str) -> None:
        """Refuse a prompt that is too long; warn, once, of words that a small vocabulary does not hold."""
        for tokenizer, most in zip(self.tokenizers, self.lengths, strict=True):
            n = len(tokenizer(prompt, verbose=False).input_ids) + (self.family == "gemma")  # whose pipeline leaves one
            if n > most:
                raise UserError(
                    f"prompt has {n - 2} tokens, this model takes {most - 2}: shorten {prompt!r} "
                    "(nothing is cut off silently)"
                )
        tokenizer = self.tokenizers[0]
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
                self._cache[prompt] = self._encode(prompt)
        return PromptEmbeds.cat([self._cache[p] for p in prompts])

    def _text(self, prompt: str) -> str:
        return prompt.lower().strip() if self._masked else prompt  # as diffusers' pipelines do

    def _lead(self, prompt: str) -> str:
        """What stands before a prompt."""
        return _instruction() if self.family == "gemma" and prompt else ""

    def _tokens(self, prompt: str) -> list[Any]:
        """What each tokenizer makes of a prompt and what stands before it, (1, L) each."""
        found, lead = [], self._lead(prompt)
        for tokenizer, length in zip(self.tokenizers, self.lengths, strict=True):
            most = len(tokenizer(lead).input_ids) + length - 2 if lead else length
            options: dict[str, Any] = {"padding": "max_length", "padding_side": "right", "max_length": most}
            options |= {"return_offsets_mapping": True, "return_tensors": "pt"}
            found.append(tokenizer(lead + self._text(prompt), **options))
        return found

    def _kept(self, of_tokens: Tensor) -> Tensor:
        """Of (1, L, …) what the network reads: behind SANA's instruction BOS and the last tokens."""
        return of_tokens[:, [0, *range(1 - self.lengths[0], 0)]] if self.family == "gemma" else of_tokens

    def _encode(self, prompt: str) -> PromptEmbeds:
        tokens = self._tokens(prompt)
        masks = [own.attention_mask if self._masked else None for own in tokens]
        outputs = [
            encoder(
                own.input_ids.to(encoder.device),
                attention_mask=None if mask is None else mask.to(encoder.device),
                output_hidden_states=True,
            )
            for encoder, own, mask in zip(self.text_encoders, tokens, masks, strict=True)
        ]
        hidden, pooled = self._joined(outputs)
        if prompt == "" and self.zeros_for_empty:
            hidden = torch.zeros_like(hidden)
            pooled = None if pooled is None else torch.zeros_like(pooled)
        content = self._covering(tokens, len(self._lead(prompt)))
        mask = None if masks[0] is None else self._kept(masks[0]).to(hidden.device)
        return PromptEmbeds(self._kept(hidden), content.to(hidden.device), pooled, attention_mask=mask)

    def _joined(self, outputs: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
        """Text features (1, L, D) and pooled ones (1, P), where there are any, of the encoders' outputs."""
        if self.family in ("sdxl", "sd3"):
            hidden = torch.cat([output.hidden_states[-2] for output in outputs[:2]], dim=-1)
        if self.family == "sdxl":
            return hidden, outputs[-1].text_embeds
        if self.family == "sd3":
            zeros = hidden.new_zeros(1, self._most or 0, self._width)
            t5 = outputs[2].last_hidden_state if len(outputs) > 2 else zeros
            clip = F.pad(hidden, (0, t5.shape[-1] - hidden.shape[-1]))
            return torch.cat([clip, t5], dim=1), torch.cat([output.text_embeds for output in outputs[:2]], dim=-1)
        if self.family == "flux":
            return outputs[1].last_hidden_state, outputs[0].pooler_output
        return outputs[0].last_hidden_state, None

    def _covering(self, tokens: Sequence[Any], first: int, last: float = math.inf) -> Tensor:
        """(1, L) bool of the text features: tokens of characters in [first, last), so not BOS, EOS or padding."""
        masks = [torch.zeros(1, self._most or 0, dtype=torch.bool)] * 3
        for i, own in enumerate(tokens):
            starts, ends = own.offset_mapping.unbind(-1)
            masks[i] = self._kept((starts < last) & (ends > first))
        return torch.cat([masks[i] for i in READ.get(self.family, (0,))], dim=1)

    def word_mask(self, prompt: str, words: str) -> Tensor:
        """(L,) bool: the tokens of ``words`` (one word or a phrase) where they first occur in ``prompt``.

        Raises UserError: the words do not occur in the prompt.
        """
        lead, wanted = self._lead(prompt), re.escape(words.strip())
        found = re.search(rf"(?<!\w){wanted}(?!\w)", self._text(prompt), re.IGNORECASE) if wanted else None
        if found is None:
            raise UserError(f"expected the words {words!r} in the prompt, got {prompt!r}: name words that it contains")
        first, last = (len(lead) + place for place in found.span())
        return self._covering(self._tokens(prompt), first, last)[0]
