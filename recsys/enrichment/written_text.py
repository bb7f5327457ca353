"""From what a back end answered to a text that may be used: read, cleaned and checked. An answer is data, nothing else.

Nothing of an answer is run, rendered or followed. Of its JSON two fields are read, and only as text.
"""

import html
import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from recsys.enrichment.config import EnrichConfig
from recsys.enrichment.language import same_language
from recsys.enrichment.request import TextReply, TextRequest

#: Of an answer, more is not read.
MOST_CHARS = 20_000
#: Places of an answer at which a JSON object may begin; models repeat the question, or write thoughts before it.
_MOST_OBJECTS = 50


class Refusal(StrEnum):
    """Why a text is not used. Checks of plugins have reasons of their own."""

    UNREADABLE = "no JSON with a summary or keywords"
    EMPTY = "empty after cleaning"
    LANGUAGE = "another script or language than the facts"
    BLOCKED = "holds a blocked word"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenText:
    """A text about an item or a user: plain text in one line, without markup."""

    summary: str = ""
    keywords: list[str] = field(default_factory=list)
    refused: str = ""
    """Why it is not used; then it has no summary and no keywords."""

    @property
    def as_line(self) -> str:
        """Summary and keywords in one line."""
        return " ".join(part for part in (self.summary, ", ".join(self.keywords)) if part)


#: A pass may leave what the next one removes, such as a tag that was escaped twice.
_PASSES = 8
_HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[/!?a-zA-Z][^<>]*>")
#: Markdown: images and links keep their words; marks of headings, code, bold and rules go.
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_MARKS = re.compile(r"`+|\*+|_{2,}|~~+|\||^[^\S\n]*(?:#{1,6}|-|\+)\s+", re.MULTILINE)
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]{1,15}://|javascript:|data:|vbscript:|www\.)\S*", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")
#: Letters of scripts without blanks between words (Thai, Lao, Burmese, Khmer, Japanese, Chinese); all others.
_SIGNS_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
    r"\U00020000-\U0003ffff"
)
_UNSPACED, _SPACED = re.compile(f"[{_SIGNS_UNSPACED}]"), rf"[^\W{_SIGNS_UNSPACED}]"
#: Signs of markup and of templates, which no clean text holds.
_SIGNS = str.maketrans("", "", "<>{}")


def plain_line(text: str, max_chars: int) -> str:
    """Text in one line: NFC, without control characters, markup, Markdown, addresses and templates.

    >>> plain_line("**Lamp** <b onclick='x()'>oak</b>\\u202e [shop](http://x.example)", 100)
    'Lamp oak shop'
    """
    text = text[:MOST_CHARS]
    for _ in range(_PASSES):
        before, text = text, _cleaned(text)
        if text == before:
            break
    if len(text) <= max_chars:
        return text
    cut = text[:max_chars]
    whole_words = cut if text[max_chars] == " " else cut.rpartition(" ")[0] or cut
    return whole_words.rstrip(" ,;:")


def _cleaned(text: str) -> str:
    text = html.unescape(text)
    text = "".join(" " if unicodedata.category(sign) in ("Cc", "Zl", "Zp") and sign != "\n" else sign for sign in text)
    # C: format signs (such as a change of direction), surrogates, private use
    text = "".join(sign for sign in text if sign == "\n" or unicodedata.category(sign)[0] != "C")
    text = _TAG.sub(" ", _HIDDEN.sub(" ", text))
    text = _ADDRESS.sub(" ", _LINK.sub(r"\1", text.translate(_SIGNS)))
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", _MARKS.sub(" ", text))).strip()


def read_reply(text: str, asked: str = "") -> tuple[str, list[str]] | None:
    """Summary and keywords of the first JSON object that has one of them, not cleaned; None if there is none.

    Words around the object, such as a fence of Markdown, are ignored. A field of a wrong type counts as missing.

    Args:
        text: The answer.
        asked: What was asked. An object with the words of its example is a thought about the question, and no answer.
    """
    examples = list(_objects(asked))
    return next((found for found in _objects(text) if found not in examples), None)


def _objects(text: str) -> Iterator[tuple[str, list[str]]]:
    text = text[:MOST_CHARS]
    decoder = json.JSONDecoder()
    for found in itertools.islice(re.finditer(r"\{", text), _MOST_OBJECTS):
        try:
            value, _ = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            continue
        summary = value.get("summary")
        keywords = value.get("keywords")
        known = (summary if isinstance(summary, str) else "", _texts(keywords))
        if any(known):
            yield known


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        value = value.split(",")
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def clean_reply(request: TextRequest, reply: TextReply, config: EnrichConfig) -> WrittenText:
    """The text of an answer, cleaned, cut, and in the language of its facts; else the reason why it is not used."""
    found = read_reply(reply.text, f"{request.system}\n{request.template}")
    if found is None:
        return WrittenText(refused=Refusal.UNREADABLE)
    summary = plain_line(found[0], config.max_summary_chars)
    lines = (plain_line(keyword, MOST_CHARS).strip(" .,;:") for keyword in found[1])
    keywords = [line for line in lines if line and len(line) <= config.max_keyword_chars]
    unique = list({keyword.casefold(): keyword for keyword in reversed(keywords)}.values())[::-1]
    text = WrittenText(summary=summary, keywords=unique[: config.max_keywords])
    if not any(sign.isalnum() for sign in text.as_line):
        return WrittenText(refused=Refusal.EMPTY)
    if config.check_language and not same_language(request.words, text.as_line):
        return WrittenText(refused=Refusal.LANGUAGE)
    return text


def without_blocked(texts: Sequence[WrittenText], blocked_words: Iterable[str]) -> list[WrittenText]:
    """The texts; one with a blocked word or phrase is refused. Words are compared without case, and as whole words.

    Where a script has no blanks between words, a word may be a part of another.
    """
    words = [" ".join(unicodedata.normalize("NFC", word).casefold().split()) for word in blocked_words]
    if not any(words):
        return list(texts)
    pattern = _whole_words([word for word in words if word])
    return [WrittenText(refused=Refusal.BLOCKED) if pattern.search(text.as_line.casefold()) else text for text in texts]


def _whole_words(words: Sequence[str]) -> re.Pattern[str]:
    """Matches them where no letter or digit is before and after, unless it is of a script without blanks."""
    begun = {True: list[str](), False: list[str]()}
    for word in words:
        end = "" if _UNSPACED.match(word[-1]) else rf"(?!{_SPACED})"
        begun[_UNSPACED.match(word) is None].append(re.escape(word) + end)
    spaced, others = ("|".join(begun[key]) for key in (True, False))
    return re.compile("|".join(([rf"(?<!{_SPACED})(?:{spaced})"] if spaced else []) + ([others] if others else [])))
