"""Rules that every piece of text from outside obeys, and the folds under which texts are compared."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from moviehub.domain.errors import FieldError, Invalid

CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
"""Control characters and lone surrogates."""

CONTROLS_BUT_LINES = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
"""The same without line breaks and tabs."""


LONGEST_NORMALIZED = 1_024
"""Longer text is brought into no normal form of Unicode.

The marks above and below a letter are put in order one by one, each past all before it: the 32,000 that a body may hold
would keep the whole process from everything else for six seconds, and these take six milliseconds.
"""


LIKE_ENOUGH = 0.4
"""The least likeness of a word to a text that has it in it with a typing error.

In 100,000 titles that finds 65 of 100 words of four or five letters of which one is wrong, 89 of those with six or
seven and 98 of longer ones, and of made-up words it finds hardly any.
"""

WORD = re.compile("[^\\W_]+")


def checked(field: str, text: str, *, least: int = 0, most: int, lines: bool = False) -> str:
    """`text`, if it has `least` to `most` characters and no control character or lone surrogate.

    With `lines`, line breaks and tabs are allowed. Raises Invalid naming `field`.
    """
    if not least <= len(text) <= most:
        wanted = f"{least} to {most}" if least else f"at most {most}"
        raise Invalid.field(field, "length", f"expected {wanted} characters")
    if (CONTROLS_BUT_LINES if lines else CONTROLS).search(text):
        raise Invalid.field(field, "characters", "control characters are not allowed")
    return text


def folded(text: str) -> str:
    """`text` without case and accents, white space collapsed: the key under which titles are searched and ordered."""
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    return " ".join(unicodedata.normalize("NFKC", plain.casefold()).split())


def telling_words(text: str) -> list[str]:
    """The words by which `text` is told from others: those of four letters or more.

    Shorter ones are in every other title, and with a typing error they are like nothing any more.
    """
    return [word for word in WORD.findall(text) if len(word) > 3]


def indexed_words(text: str) -> list[str]:
    """The words of `text` by whose midst an index of trigrams finds it sooner than by the whole.

    How words begin and end, and the shortest, are in so many titles that to look that up takes longer than the rest.
    """
    return [word for word in WORD.findall(text) if len(word) > 2 and word not in ("the", "and")]


def likeness(sought: str, text: str) -> float:
    """How much of `sought`, from 0 to 1, is in `text` (both folded), though letters be missing, doubled or swapped.

    It is counted in trigrams: the runs of three characters of each word, two blanks before it and one behind.
    """
    wanted = _trigrams(sought)
    return len(wanted & _trigrams(text)) / len(wanted) if wanted else 0.0


def is_like(sought: str, text: str) -> bool:
    """Whether `text` has each telling word of `sought` in it, perhaps with a typing error."""
    words = telling_words(sought)
    return bool(words) and all(likeness(word, text) >= LIKE_ENOUGH for word in words)


def _trigrams(text: str) -> set[str]:
    return {f"  {word} "[start : start + 3] for word in WORD.findall(text) for start in range(len(word) + 1)}


def cased(text: str) -> str:
    """`text` without regard to case: the key under which usernames and e-mail addresses are unique.

    What is longer than any of them may be is left as it is, see `LONGEST_NORMALIZED`.
    """
    if len(text) > LONGEST_NORMALIZED:
        return text
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def faults(values: Mapping[str, Any], rules: Mapping[str, Callable[[Any], object]]) -> list[FieldError]:
    """Every fault that `rules` (one a field) find in `values`; a field without a value or a rule has none."""
    found: list[FieldError] = []
    for field, rule in rules.items():
        if values.get(field) is not None:
            try:
                rule(values[field])
            except Invalid as fault:
                found.extend(fault.errors)
    return found
