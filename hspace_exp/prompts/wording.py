"""Small changes to the wording of English prompts."""

from __future__ import annotations

import re

from hspace_exp.errors import UserError

# Words that sound otherwise than they are spelt: "an hour", "a one-eyed man", "a user". Initials are spelt: "an MRI".
_SILENT_H = re.compile(r"h(?:our|onest|onou?r|eir)", re.IGNORECASE)
_CONSONANT = re.compile(
    r"eu|ewe|once\b|one\b|ufo|uk\b|uni(?:[cfqstv]|on)|unanim|us(?:[aeiu]|\b)|ut[aei]", re.IGNORECASE
)
_INITIALS = re.compile(r"[A-Z]{2,}\b")


def article(word: str) -> str:
    """``a`` or ``an``, by how the word sounds.

    Rules of a few lines: the package that knows every English word takes seconds to import.
    """
    initials = _INITIALS.match(word)
    if initials:
        return "an" if word[0] in "AEFHILMNORSX" else "a"
    vowel = word[0].lower() in "aeiou" and not _CONSONANT.match(word)
    return "an" if vowel or _SILENT_H.match(word) else "a"


def with_word(prompt: str, profession: str, word: str) -> str:
    """``prompt`` with ``word`` before the profession, and the right article where one stands before it.

    "a photo of a nurse" with "old" gives "a photo of an old nurse".
    """
    found = list(re.finditer(rf"(?P<article>\ban? )?\b(?P<name>{re.escape(profession)})\b", prompt, re.IGNORECASE))
    if not found:
        raise UserError(f"expected the profession {profession!r} in the prompt {prompt!r}: use a template with it")
    last = found[-1]
    own = last["article"] or ""
    if own:
        own = article(word) + " "
        own = own.capitalize() if last["article"][0].isupper() else own
    return f"{prompt[: last.start()]}{own}{word} {last['name']}{prompt[last.end() :]}"


def with_subject(prompt: str, subject: str, before: str = "person") -> str | None:
    """``prompt`` about ``subject`` where it was about ``before``, with the right article; None where it is not there.

    "a photo of a person" with "engineer" gives "a photo of an engineer".
    """
    found = list(re.finditer(rf"(?P<article>\ban? )?\b{re.escape(before)}\b", prompt, re.IGNORECASE))
    if not found:
        return None
    last = found[-1]
    own = f"{article(subject)} " if last["article"] else ""
    return f"{prompt[: last.start()]}{own}{subject}{prompt[last.end() :]}"
