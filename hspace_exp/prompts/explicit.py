"""Does a prompt name an attribute itself? Then its author has decided, and an edit leaves the image alone.

Word lists, not a model: what they do can be read and corrected in ``conf/attribute``. Known limits: negations count as
naming ("not a woman": explicit either way); names of people do not ("Maria"); an adjective before a compound counts for
its last word ("old town doctor" is read as an old doctor), and one before persons in the plural for them ("an old
farmers market").
"""

from __future__ import annotations

import functools
import logging
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from hspace_exp.errors import UserError
from hspace_exp.prompts.attributes import Explicit, Group

log = logging.getLogger(__name__)

_LISTS = OmegaConf.load(Path(__file__).with_name("explicit_words.yaml"))
_WORDS = {str(name): frozenset(words) for name, words in _LISTS.items()}
_PERSON_ENDINGS = re.compile(r"(?:ist|ian|eer|man|men|woman|women|person|ess|boy|girl|or|er)s?$")
_PREDICATE = re.compile(r"\b(?:is|are|was|were|looks?|seems?|appears?)(?:\s+(?:very|quite|so|rather|too|really))?\s*$")
_LINK = re.compile(r"^\s*(?:,|and\b|or\b|but\b)(?=\s)")


def names_attribute(prompt: str, explicit: Explicit) -> list[str]:
    """What in a prompt names an attribute, in its order; empty where it leaves the attribute open.

    Case, plural, possessive, hyphens and Unicode forms do not matter; parts of words never match.
    """
    text = _plain(prompt)
    for phrase in explicit.neutral:
        text = _pattern(phrase).sub(" , ", text)
    found = [(match.start(), match[0].strip()) for word in explicit.words for match in _pattern(word).finditer(text)]
    for adjective in explicit.adjectives:
        for match in _pattern(adjective, inflected=False).finditer(text):
            if _is_of_a_person(text[: match.start()], text[match.end() :]):
                found += [(match.start(), match[0].strip())]
    return list(dict.fromkeys(name for _, name in sorted(found)))


def explicit_prompts(prompts: Sequence[str], groups: Sequence[Group]) -> dict[str, list[str]]:
    """Prompts that name one of the groups that are asked for, and by which words; said in the log."""
    found = {}
    for prompt in prompts:
        if named := [word for group in groups for word in names_attribute(prompt, group.explicit)]:
            found[prompt] = named
    if found:
        prompt, named = next(iter(found.items()))
        log.info(
            "%d of %d prompts name what they would be asked for and are left alone, e.g. %r in %r; "
            "respect_prompt=false edits them, too", len(found), len(prompts), named[0], prompt,
        )  # fmt: skip
    return found


def _plain(text: str) -> str:
    """Lower case, straight apostrophes, hyphens as spaces."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return re.sub(r"[-‐-―_]", " ", text)


@functools.lru_cache(maxsize=4096)
def _pattern(phrase: str, inflected: bool = True) -> re.Pattern[str]:
    text = re.escape(_plain(phrase)).replace(r"\#", r"\d{1,3}")
    text = text.replace(r"\(", "(?:").replace(r"\|", "|").replace(r"\)", ")").replace(r"\ ", r"\s+")
    ending = r"(?:s|es|'s|s')?" if inflected else ""
    try:
        return re.compile(rf"(?<!\w){text}{ending}(?!\w)")
    except re.error as error:
        raise UserError(f"attribute.explicit: expected words and (one|another), got {phrase!r}") from error


def _is_of_a_person(before: str, after: str) -> bool:
    """Whether an adjective between two pieces of text is about a person."""
    told_of_someone = any(_is_person(word) for word in re.findall(r"[\w']+", before))
    if told_of_someone and _PREDICATE.search(before):
        return True  # "the doctor is old and wise"
    noun = _noun_phrase(_LINK.sub("", after))  # "an old, tired doctor", "an old and tired doctor"
    return _is_person(noun[-1]) if noun else told_of_someone  # "a cook, old and tired"


def _noun_phrase(text: str) -> list[str]:
    """The words up to the next punctuation, preposition, article, conjunction or verb, without what qualifies them."""
    words = re.split(r"[^\w\s']", text, maxsplit=1)[0].split()
    while len(words) > 1 and words[0].endswith("ing") and words[1] not in _WORDS["ends"]:
        words = words[1:]  # "smiling nurse", but "building" and "smiling at"
    ended = next((place for place, word in enumerate(words) if word in _WORDS["ends"]), len(words))
    words = [word for word in words[:ended] if word not in _WORDS["qualifiers"]]
    for place, word in enumerate(words[1:], start=1):
        if word.endswith("ing") or (_is_person(words[place - 1]) and _is_verb(word, after=words[place - 1])):
            return words[:place]  # "nurse laughing", "nurse stands", "nurses stand"
    return words


def _is_verb(word: str, after: str) -> bool:
    """Whether a word that follows one for persons is a verb, by the one s that the two of them share."""
    return "'" not in after and word.endswith("s") != after.endswith("s") and not word.endswith("ss")


def _is_person(word: str) -> bool:
    word = word.removesuffix("'s").removesuffix("'")
    singular = word.removesuffix("s")
    if word in _WORDS["persons"] or singular in _WORDS["persons"]:
        return True
    things = word in _WORDS["things"] or singular in _WORDS["things"]
    return not things and len(word) > 4 and bool(_PERSON_ENDINGS.search(word))
