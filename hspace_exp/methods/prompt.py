"""The prompt itself names the attribute: no vector, the upper bound for success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from hspace_exp.methods.steering import Application, Steering, check_targets, low_frequencies
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import Concepts
from hspace_exp.prompts.plan import Item
from hspace_exp.prompts.wording import with_word


@dataclass(frozen=True)
class AttributeWord:
    """A batch's prompts with the attribute's word ("a photo of a female nurse"), from the same noise.

    The word holds for all steps; a low-frequency term acts in the method's window. There are no settings: the words are
    those of the attribute; several can stand before a profession.
    """

    keeps: ClassVar[bool] = False
    composes: ClassVar[bool] = True

    def steer(self, application: Application, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``, see ``Editor``."""
        term = Steering()
        if application.frequency.weight:
            term = low_frequencies(application, backbone)(backbone, items, guided)
        return replace(term, prompts=[prompt_with_words(item, application.prompts) for item in items])


def prompt_with_words(item: Item, prompts: Concepts) -> str:
    """The item's prompt with the words of its target; the first part's stands next to the profession.

    The words are the ``adjective`` of a concept's prompts, or else their ``words``.
    """
    check_targets([item], prompts)
    if not item.target:
        return item.prompt
    words = [prompts[name].adjective or prompts[name].words for name in reversed(item.parts)]
    return with_word(item.prompt, item.profession, " ".join(words))
