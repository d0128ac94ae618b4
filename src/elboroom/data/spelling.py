"""Words that look alike but consist of other characters: é is one character, or e with an accent."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable


def one_spelling(words: Iterable[str]) -> dict[str, str]:
    r"""Words that differ in Unicode normal form alone → their common spelling, in form NFC.

    Examples
    --------
    >>> sorted(map(ascii, one_spelling(["Caf\u00e9", "Cafe\u0301", "Cafe"]).items()))
    ["('Caf\\xe9', 'Caf\\xe9')", "('Cafe\\u0301', 'Caf\\xe9')"]
    """
    groups: dict[str, list[str]] = {}
    for word in words:
        if not word.isascii():
            groups.setdefault(_composed(word), []).append(word)
    return {word: composed for composed, group in groups.items() if len(group) > 1 for word in group}


def speller(known: Iterable[str]) -> Callable[[str], str]:
    r"""A function from a word to the known word that it is, in whatever normal form; to itself if it is none.

    Examples
    --------
    >>> as_known = speller(["Bar", "Caf\u00e9"])
    >>> as_known("Cafe\u0301") == "Caf\u00e9", as_known("Cafe")
    (True, 'Cafe')
    """
    exact = set(known)
    composed = {_composed(word): word for word in exact}

    def as_known(word: str) -> str:
        return word if word in exact else composed.get(_composed(word), word)

    return as_known


def _composed(word: str) -> str:
    return unicodedata.normalize("NFC", word)
