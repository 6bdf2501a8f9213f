"""How the type of a frame is told: words of its header or name, and its exposure time."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import model_validator

from visql_lib.instruments.facts import Facts

UNKNOWN = "UNKNOWN"
_LETTERS = re.compile(r"[^\W\d_]+")


class FrameTypeRule(Facts):
    """One line of the table of frame types.

    Conditions on the words: ``contains`` (anywhere), ``starts``, ``words`` (whole words: ARC is none in
    Barcelona), or ``both`` (all keywords say the same). ``longer_than`` (with ``both``) and ``at_most`` [s]
    are conditions on the exposure time; a line with ``at_most`` alone is for frames of which no word tells.
    """

    type: str
    contains: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    both: str | None = None
    longer_than: float = 0.0
    at_most: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> FrameTypeRule:
        if not self.has_words and self.at_most is None:
            raise ValueError(f"{self.type}: write the words it contains or starts with")
        return self

    @property
    def has_words(self) -> bool:
        """Whether words are asked for."""
        return bool(self.contains or self.starts or self.words) or self.both is not None

    def matches(self, words: Sequence[str], exptime: float, *, whole: bool = False) -> bool:
        """Say whether a frame with these words in its header is of this type; capitals do not matter.

        With `whole`, only words that stand alone count.
        """
        if self.at_most is not None and not exptime <= self.at_most:
            return False
        if not self.has_words:
            return True
        texts = [t.strip().upper() for t in words]
        if self.both is not None:
            return all(text == self.both.upper() for text in texts) and exptime > self.longer_than
        alone = {word for text in texts for word in _LETTERS.findall(text)}
        if any(word.upper() in alone for word in (*self.words, *(self.contains if whole else ()))):
            return True
        return not whole and (
            any(word.upper() in text for word in self.contains for text in texts)
            or any(text.startswith(word.upper()) for word in self.starts for text in texts)
        )


class ToldType(NamedTuple):
    """The type of a frame, and by which list of words it is told: their number if by none of them."""

    type: str
    place: int


def type_of(
    rules: Sequence[FrameTypeRule], lists: Sequence[Sequence[str]], exptime: float = math.nan
) -> ToldType:
    """Tell the type of a frame: the first rule that the first telling list of words satisfies.

    Parameters
    ----------
    rules : sequence of FrameTypeRule
        In their order.
    lists : sequence of sequences of str
        What the keywords say, list by list; in those after the first only whole words count, as an object
        may be called Zerolight.
    exptime : float, optional
        s; NaN where not known.

    Returns
    -------
    ToldType
        Where no word tells, the type of the first rule about the exposure time alone; else UNKNOWN.
    """
    with_words = [rule for rule in rules if rule.has_words]
    for place, words in enumerate(lists):
        for rule in with_words:
            if rule.matches(words, exptime, whole=place > 0):
                return ToldType(rule.type, place)
    by_time = (r.type for r in rules if not r.has_words and r.matches((), exptime))
    return ToldType(next(by_time, UNKNOWN), len(lists))
