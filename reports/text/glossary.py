"""The words of this field, each explained where it first stands on a page and in a list at its end."""

from __future__ import annotations

import re
from typing import Final

from markupsafe import Markup, escape

from reports.text import printable

WORDS: Final = {
    "Akaike weight": "the share of the evidence that one of several formulas has, from 0 to 1",
    "best constant": "the one number that has the lowest MSE when it is the answer for every test image: "
    "what can be had without looking at the image",
    "common seeds": "seeds that both sides of a comparison were trained with, so that runs make pairs",
    "cut short": "trained for fewer updates than its ten epochs have",
    "dead": "of a run: the network ends by saying the same for every image",
    "diverged": "of a run: its error grew without bound, and training ended",
    "exact": "of a p-value: counted over every order that chance could have made, not estimated",
    "normalised MSE": "the MSE over that of the best constant: 1 is no better than a constant, 0 is perfect",
    "pooled": "of all tasks together, each counting alike",
    "rank correlation": "how far two orders agree, from \N{MINUS SIGN}1 (opposite) to 1 (the same)",
    "schedule": "how the learning rate changes during a training: constant, or falling to zero",
    "tau": "a rank correlation, counted over pairs of runs",
    "tuned": "chosen, out of several that were tried, by the error on images kept aside",
}
_FIRST: Final = re.compile(rf"\b({'|'.join(WORDS)})s?\b", re.IGNORECASE)


class Glossary:
    """Explains every word where it first stands in the texts that it is given, in the page's order."""

    def __init__(self) -> None:
        self._met: set[str] = set()

    def explained(self, text: str) -> Markup:
        """The text, escaped, with `<dfn>` around each word that no text before had."""
        said, end = Markup(), 0
        text = printable(text)
        for match in _FIRST.finditer(text):
            word = _word(match[0])
            if word not in self._met:
                self._met.add(word)
                said += escape(text[end : match.start()]) + self._dfn(word, match[0])
                end = match.end()
        return said + escape(text[end:])

    @property
    def met(self) -> dict[str, str]:
        """Those that stood somewhere, by the alphabet, with what they mean."""
        return {word: WORDS[word] for word in WORDS if word in self._met}

    @staticmethod
    def _dfn(word: str, read: str) -> Markup:
        link = Markup('<dfn><a href="#word-{}" title="{}">{}</a></dfn>')
        return link.format(anchor(word), WORDS[word], read)


def anchor(word: str) -> str:
    """`best-constant`."""
    return word.lower().replace(" ", "-")


def _word(read: str) -> str:
    """The word of WORDS that was read, whatever its case and number."""
    return next(word for word in WORDS if read.lower() in {word.lower(), f"{word.lower()}s"})
