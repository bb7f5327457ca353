"""Texts for a language model: cleaning, and hashes."""

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.values.cells import one_chunk

#: A longer value goes to quarantine: it cannot be meant as text, and cleaning it would take long.
LONGEST_TEXT = 100_000

_BLANKS = r"[\s\p{Cc}\p{Z}]+"
_VISIBLE = r"[^\s\p{Cc}\p{Z}]"
_MEANT = r"[^\s\p{C}\p{P}\p{Z}]"


def clean_text(text: Any) -> Any:
    """Text in NFC, with one blank for every run of blanks and control characters, and none at the ends."""
    spaced = pc.replace_substring_regex(pc.utf8_normalize(text, form="NFC"), pattern=_BLANKS, replacement=" ")
    return pc.utf8_trim_whitespace(spaced)


def cut_text(text: Any, max_chars: int) -> Any:
    """The first `max_chars` characters of each clean text."""
    return pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(text, 0, max_chars))


def non_empty(text: Any) -> Any:
    """The text, or null if no character is visible: a blank must not replace an older value."""
    return pc.if_else(pc.match_substring_regex(text, pattern=_VISIBLE), text, pa.scalar(None, pa.string()))


def says_something(text: Any) -> Any:
    """Whether a text has more than punctuation and blanks: a letter, a digit, a symbol such as € or an emoji."""
    return pc.match_substring_regex(text, pattern=_MEANT)


def with_meaning(text: Any) -> Any:
    """The text, or null if it does not say anything: reviews such as "..." are no texts."""
    return pc.if_else(says_something(text), text, pa.scalar(None, pa.string()))


def hash_texts(texts: Any) -> pa.Array:
    """BLAKE2b of 128 bits [N] as hex; each different text is hashed once."""
    flat = one_chunk(texts)
    encoded = flat.dictionary_encode()
    digests = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in encoded.dictionary.to_pylist()]
    return pa.array(digests, pa.string()).take(encoded.indices)
