"""UCE: keys and values of cross-attention edited in closed form (Gandikota et al., WACV 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from hspace_exp.methods.steering import Application, Steering, strength_of
from hspace_exp.models.attention import cross_attention_modules
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Hooks
from hspace_exp.prompts.attributes import Concepts
from hspace_exp.prompts.plan import Item
from hspace_exp.prompts.wording import wordings
from hspace_rivals.beside import beside_low_frequencies, check, rows_of
from hspace_rivals.latest import Latest

Tokens = Literal["last", "rest"]
Values = Literal["alone", "joined"]


@dataclass(frozen=True)
class ClosedFormEdit:
    """W = (sum_i v_i c_i^T + ridge W_old + preserve W_old P) (sum_i c_i c_i^T + ridge I + preserve P)^-1.

    P is sum_j p_j p_j^T over the tokens p_j that are preserved, c_i the text feature of the i-th profession, and
    v_i = W_old (c_i + s d_i) what its keys and values are to be; the paper's eq. 7, whose v_i for debiasing is
    W_old (c_i + sum_j alpha_j a_j) with the attribute's values a_j. Every v_i is W_old times something, so that
    W = W_old (I + s M), M = (sum_i d_i c_i^T) (…)^-1: one M (``shift_of_text``) serves all layers and strengths, and
    W x = W_old (x + s M x) is the layer itself, given other text features.

    From the paper and its released code: all professions are edited at once; keys and values of all cross-attention;
    c_i is the last token of a text with the profession. The code's later script has ridge 0.5, edits and what is
    preserved 1, and a_j of the value's word alone, as the paper has it; the earlier one 0.1 for all three, a_j of the
    profession with the word before it ("female nurse": ``values`` = ``joined``), edits the end mark and padding behind
    the profession, too (``tokens`` = ``rest``), and preserves all tokens of the empty prompt. The alpha_j are found by
    a loop: images of the edited model are made and judged, and each alpha_j gets what its value lacks of the ratio
    wanted, or a tenth of that; images are then drawn at random from the one edited model.

    Our reading: here each image is asked for its target, so each target has its own edited weights, and the strength s,
    which the stage ``calibration`` finds on validation images, takes the loop's place. What values lack adds up to
    zero, so alpha is s for the target and -s / (K - 1) for each of the other values; of a value without others, the
    neutral prompt gets -s. Texts are the concepts' own prompts, those of professions have these in the place of the
    person, and not bare words. As keys and values depend on the text alone, rows of a batch are edited by hooks, each
    for its target; with ``branch`` = ``both`` the empty prompt's half is read with edited weights, as by a model whose
    weights are so. No image is looked at to make M, so that professions that tables show may be among those edited.
    """

    professions: Sequence[str]  # that are edited, all at once
    ridge: PositiveFloat = 0.5  # lambda: how much W is held where no token is
    preserve: NonNegativeFloat = 1.0  # weight of the tokens that are preserved
    preserved: Sequence[str] = ("",)  # prompts, all of whose tokens are preserved
    values: Values = "alone"  # what stands for them: their own words, or the profession with the word before it
    tokens: Tokens = "last"  # that are edited: the profession's last one, or the rest of the text from there on
    latest: Latest[dict[str, Tensor]] = field(default_factory=Latest, init=False, repr=False, compare=False)
    keeps: ClassVar[bool] = False
    composes: ClassVar[bool] = False  # one edit would be the sum of all

    def steer(self, application: Application, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``, see ``Editor``; the prompts of the attribute's concepts are its values.

        Raises UserError: an item asks for an unknown concept, or the model is that of a pipeline that is being called.
        """
        check(application, backbone, items, "uce edits")
        return beside_low_frequencies(self._hooks, application, backbone, items, guided)

    def shifts(self, backbone: Backbone, prompts: Concepts) -> dict[str, Tensor]:
        """M of each concept, (D, D) float64 on the model's device; text features have D numbers."""
        texts = tuple((name, *some.plain().items()) for name, some in prompts.items())
        of = (
            texts,
            *map(tuple, (self.professions, self.preserved)),
            self.ridge,
            self.preserve,
            self.values,
            self.tokens,
        )
        return self.latest(backbone, of, partial(self._made, backbone, prompts))

    def _made(self, backbone: Backbone, prompts: Concepts) -> dict[str, Tensor]:
        read = partial(text_features, backbone, tokens=self.tokens)
        names = [profession.lower() for profession in self.professions]
        said = {name: wordings(some, names) for name, some in prompts.items()}
        plain = {name: list(map(read, some.neutral)) for name, some in said.items()}
        without, shown = plain, {name: list(map(read, some.positive)) for name, some in said.items()}
        if self.values == "alone":
            shown = {name: [read(some.positive, some.words)] * len(plain[name]) for name, some in prompts.items()}
            without = {name: [read(some.neutral)] * len(plain[name]) for name, some in prompts.items()}
        kept = [backbone.context(backbone.encode_prompts([prompt]).encoder_hidden_states) for prompt in self.preserved]
        found = {}
        for name in prompts:
            others = [shown[other] for other in prompts if other != name] or [without[name]]
            rows = [directions(*parts) for parts in zip(plain[name], shown[name], *others, strict=True)]
            c, d = (torch.cat(some) for some in zip(*rows, strict=True))
            p = torch.cat([c[:0], *(tokens.flatten(0, 1).double() for tokens in kept)])
            found[name] = shift_of_text(c, d, p, self.ridge, self.preserve)
        return found

    def _hooks(self, application: Application, backbone: Backbone, guided: bool, items: Sequence[Item]) -> Hooks:
        a, shifts = application, self.shifts(backbone, application.prompts)
        edits = [  # of each target: its rows, and (s M)^T
            (rows, (strength_of(a.strength, name) * shifts[name]).T.float())
            for name, rows in rows_of(a, backbone, guided, items).items()
        ]

        def hooks(done: float) -> AbstractContextManager[object]:
            return edited_text(backbone.unet, edits) if done in a.window else nullcontext()

        return hooks


def text_features(backbone: Backbone, prompt: str, words: str = "", *, tokens: Tokens) -> Tensor:
    """(L, D) float64 features of the last token of some words of a prompt, by default all, or of that and all behind.

    Raises UserError: the words do not occur in the prompt.
    """
    embeds = backbone.encode_prompts([prompt])
    mask = backbone.word_mask(prompt, words) if words else embeds.content_mask[0]
    last = int(mask.nonzero()[-1])
    return backbone.context(embeds.encoder_hidden_states)[0, last : last + 1 if tokens == "last" else None].double()


def directions(plain: Tensor, shown: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    """Features c of a profession's tokens (L, D), and where they are to go: the target's less the others' mean.

    Texts with a word more have a token less behind it, of padding: as many are taken as all have.
    """
    length = min(len(plain), len(shown), *map(len, others))
    return plain[:length], shown[:length] - torch.stack([other[:length] for other in others]).mean(0)


def shift_of_text(c: Tensor, d: Tensor, p: Tensor, ridge: float, preserve: float) -> Tensor:
    """M = (sum_i d_i c_i^T) (sum_i c_i c_i^T + ridge I + preserve sum_j p_j p_j^T)^-1 (D, D); all (·, D) float64."""
    whole = c.T @ c + preserve * p.T @ p + ridge * torch.eye(c.shape[1], dtype=c.dtype, device=c.device)
    found: Tensor = torch.linalg.solve(whole, c.T @ d).T
    return found


@contextmanager
def edited_text(unet: nn.Module, edits: Sequence[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Give keys and values of cross-attention x + x A in the place of x (L, D): (rows, A) of each of ``edits``."""

    def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        text, *rest = args
        for rows, matrix in edits:
            some = text[rows].float()
            text = text.index_copy(0, rows, (some + some @ matrix).to(text.dtype))
        return (text, *rest)

    with ExitStack() as hooks:
        for _, module in cross_attention_modules(unet):
            for projection in (module.to_k, module.to_v):
                hooks.callback(projection.register_forward_pre_hook(before).remove)
        yield
