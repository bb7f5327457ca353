"""What a search says it does not want and what it may cost, by rules: "cheap red lamp, no glass", "a vase under £20".

The rules read English. What they understand they take out of the text, because a text encoder cannot read it: for an
encoder, "no glass" is near to glass, and "under 20" is near to other numbers.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from recsys.data.values.written_numbers import NUMBER, written_number

Level = Literal["low", "high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRules:
    """A search, taken apart."""

    text: str
    """What is searched for; empty where the search only says what is not wanted."""
    unwanted: tuple[str, ...] = ()
    """Phrases in lower case, of one to three words; an item with all words of one of them is not wanted."""
    lowest: float | None = None
    """Least price."""
    highest: float | None = None
    """Largest price."""
    level: Level | None = None
    """`low`: something cheap; `high`: something expensive."""


_CURRENCY = r"(?:[£$€]|\b(?:eur|euros?|usd|gbp|dollars?|pounds?|bucks|quid)\b)"
#: What follows a number that is no price.
_UNIT = (
    r"(?:[%°\"″”]|(?:percent|[cmk]?m|inch(?:es)?|ft|feet|foot|[mk]?g|oz|lbs?|[mc]?l|lit(?:er|re)s?|years?|months?|weeks?|"
    r"days?|hours?|min(?:ute)?s?|pieces?|pcs|packs?|w(?:atts?)?|v(?:olts?)?|[kmgt]b|m?ah|[kmg]?hz|mp|dpi|carats?|stars?|"
    r"reviews?|pages?|persons?|people|players?|seats?)\b)"
)


def _not_after(*words: str) -> str:
    """A pattern of no length: none of the words stands before this place."""
    return "".join(rf"(?<!\b{word}\s)" for word in words)


#: A number after one of these is an age.
_NO_AGE = _not_after("kids", "children", "toddlers", "babies", "boys", "girls", "age", "aged")
_PRICE = rf"(?:{_CURRENCY}\s*{NUMBER}|{NUMBER}\s*{_CURRENCY}|{NUMBER}(?!\s*{_UNIT})(?![a-z]))"
_NOT_WORDS = ("not", "no", "nothing", "never")
_NOT = rf"(?:{'|'.join(_NOT_WORDS)})"
_LESS = r"(?:under|below|less than|cheaper than|less expensive than)"
_MORE = r"(?:over|above|more than|dearer than|pricier than|more expensive than)"
_AT_MOST, _AT_LEAST = r"(?:up to|at most|max(?:imum)?\.?)", r"(?:at least|min(?:imum)?\.?)"
_BETWEEN_PRICES = re.compile(rf"\b(?:between|from)\s+{_PRICE}\s+(?:and|to)\s+{_PRICE}", re.IGNORECASE)
_BELOW_PRICE = re.compile(
    rf"\b(?:{_NOT}\s+{_MORE}|{_not_after(*_NOT_WORDS)}{_NO_AGE}{_LESS}|{_AT_MOST})\s+{_PRICE}", re.IGNORECASE
)
_ABOVE_PRICE = re.compile(rf"\b(?:{_NOT}\s+{_LESS}|{_NO_AGE}{_MORE}|{_AT_LEAST})\s+{_PRICE}", re.IGNORECASE)
_ABOUT_PRICE = re.compile(rf"\b(?:around|about|approximately|roughly|circa)\s+{_PRICE}", re.IGNORECASE)
#: A price about which somebody looks for something may be so much off.
_ABOUT_SHARE = 0.2
#: "from 1990 to 1999", "about 1984": four digits without a currency may be a year, and then are no price.
_YEAR = re.compile(r"(?:1[89]|20)\d\d")

_CHEAP = (
    r"(?:(?:more|most|very|really)\s+)?(?:cheap(?:er|est)?|inexpensive|affordable|low[- ]cost|low[- ]price[d]?|budget)"
)
_EXPENSIVE = r"(?:(?:more|most|very|really)\s+)?(?:expensive|pric(?:e)?y|luxur(?:y|ious)|high[- ]end)"
#: "not too", "isn't", "don't want anything", "less": what follows is the opposite of what is wanted.
_OPPOSITE = (
    r"\b(?:not|nothing|never|less|least|\w+n['’]t|dont|isnt)\s+"
    r"(?:(?:too|very|so|that|all|as|the|overly|want|need|anything|something)\s+){0,3}"
)
#: After these words a level belongs to what is not wanted: "no cheap plastic".
_NOT_OF_UNWANTED = _not_after("no", "without")
_NOT_EXPENSIVE = re.compile(rf"{_OPPOSITE}{_EXPENSIVE}\b", re.IGNORECASE)
_NOT_CHEAP = re.compile(rf"{_OPPOSITE}{_CHEAP}\b", re.IGNORECASE)
_CHEAP_WORD = re.compile(rf"{_NOT_OF_UNWANTED}\b{_CHEAP}\b", re.IGNORECASE)
_EXPENSIVE_WORD = re.compile(rf"{_NOT_OF_UNWANTED}\b{_EXPENSIVE}\b", re.IGNORECASE)

#: Words, and the punctuation that ends what is not wanted. A minus before a word is a piece of its own.
_PIECE = re.compile(r"(?:(?<=\s)|^)-(?=[^\W\d_])|[^\W_]+(?:['’\-][^\W_]+)*|[^\w\s]")
_MINUS = "-"
_NEGATIONS = frozenset(
    {"no", "not", "without", "except", "excluding", "never", "isn't", "isn’t", "aren't", "aren’t", _MINUS}
)
_ARTICLES = frozenset({"a", "an", "the", "any", "some", "made", "of", "from", "in"})
_JOINS = frozenset({"or", "nor", "and"})
#: What is not wanted ends before one of these words.
_STOPS = frozenset({"but", "with", "for", "on", "at", "to", "by", "as", "please", "just", "only", "that", "which"})
#: "not more than 3 kg" is about a number.
_COMPARISONS = frozenset({"more", "less", "over", "under", "above", "below"})
#: Most words of a phrase that is not wanted.
_MOST_WORDS = 3


def read_query(query: str, names: Sequence[str] = (), *, prices: bool = True) -> QueryRules:
    """Take a search apart.

    Args:
        query: In the user's own words.
        names: Phrases in lower case that begin with a negation and are names, such as "no doubt".
        prices: Whether the catalog has prices; else words about them stay in the text.

    >>> read_query("cheap red lamp, no glass")
    QueryRules(text='red lamp', unwanted=('glass',), lowest=None, highest=None, level='low')
    """
    query = " ".join(query.split())
    lowest = highest = None
    level: Level | None = None
    if prices:
        query, lowest, highest = _take_prices(query)
        query, level = _take_level(query)
    text, unwanted = _take_unwanted(query, names)
    return QueryRules(text=text, unwanted=unwanted, lowest=lowest, highest=highest, level=level)


def negated_phrases(query: str) -> list[str]:
    """Two words, the first of which is a negation, wherever a search has them: in a name they are no wish."""
    words = [piece.lower() for piece in _PIECE.findall(query)]
    return [f"{first} {second}" for first, second in itertools.pairwise(words) if first in _NEGATIONS - {_MINUS}]


def _take_prices(query: str) -> tuple[str, float | None, float | None]:
    """The rest of the search, and the least and the largest price."""
    lowest = highest = None
    if (found := _BETWEEN_PRICES.search(query)) and not _names_year(found):
        lowest, highest = sorted(_numbers(found))
        query = _without(query, found)
    if found := _BELOW_PRICE.search(query):
        highest = _numbers(found)[0]
        query = _without(query, found)
    if found := _ABOVE_PRICE.search(query):
        lowest = _numbers(found)[0]
        query = _without(query, found)
    if (found := _ABOUT_PRICE.search(query)) and not _names_year(found):
        price = _numbers(found)[0]
        lowest, highest = price * (1 - _ABOUT_SHARE), price * (1 + _ABOUT_SHARE)
        query = _without(query, found)
    return query, lowest, highest


def _take_level(query: str) -> tuple[str, Level | None]:
    """The rest of the search, and whether it asks for something cheap or expensive."""
    rules: tuple[tuple[re.Pattern[str], Level], ...] = (
        (_NOT_EXPENSIVE, "low"),
        (_NOT_CHEAP, "high"),
        (_CHEAP_WORD, "low"),
        (_EXPENSIVE_WORD, "high"),
    )
    for pattern, level in rules:
        if found := pattern.search(query):
            return _without(query, found), level
    return query, None


def _take_unwanted(query: str, names: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The rest of the search, and the phrases that are not wanted."""
    pieces = list(_PIECE.finditer(query))
    words = [piece.group().lower() for piece in pieces]
    unwanted: list[str] = []
    kept = list(query)
    place = 0
    while place < len(words):
        is_name = " ".join(words[place : place + 2]) in names
        compares = not _COMPARISONS.isdisjoint(words[place + 1 : place + 2])
        if words[place] not in _NEGATIONS or is_name or compares:
            place += 1
            continue
        end, phrases = _scope(words, place + 1)
        if phrases:
            unwanted += phrases
            start, stop = pieces[place].start(), pieces[end - 1].end()
            kept[start:stop] = " " * (stop - start)
        place = max(end, place + 1)
    return _tidy("".join(kept)), tuple(dict.fromkeys(unwanted))


def _scope(words: Sequence[str], place: int) -> tuple[int, list[str]]:
    """Where what is not wanted ends, and its phrases."""
    phrases: list[list[str]] = [[]]
    while place < len(words):
        word = words[place]
        if word in _JOINS and phrases[-1]:
            phrases.append([])
        elif word in _ARTICLES:
            pass
        elif word in _NEGATIONS or word in _STOPS or not word[0].isalpha() or len(phrases[-1]) == _MOST_WORDS:
            break
        else:
            phrases[-1].append(word)
        place += 1
    return place, [" ".join(phrase) for phrase in phrases if phrase]


def _numbers(found: re.Match[str]) -> list[float]:
    """The prices of a match."""
    return [written_number(group) for group in found.groups() if group]


def _names_year(found: re.Match[str]) -> bool:
    """Whether a match has no currency, and a number in it may be a year."""
    return not re.search(_CURRENCY, found[0], re.IGNORECASE) and any(
        _YEAR.fullmatch(group) for group in found.groups() if group
    )


def _without(query: str, found: re.Match[str]) -> str:
    return f"{query[: found.start()]} {query[found.end() :]}"


def _tidy(text: str) -> str:
    """One blank between words, no punctuation that stands alone or at the ends, and no word that only joined a part."""
    text = re.sub(r"\s+([,;.!?])", r"\1", " ".join(text.split()))
    text = re.sub(r"([,;.])(?:\s*[,;.])+", r"\1", text)
    text = re.sub(
        r"^(?:\W|(?:and|but|or)\b)+|(?:[\s,;.]|\b(?:and|but|or|that|is|are|please)\b)+$", "", text, flags=re.IGNORECASE
    )
    return text.strip()
