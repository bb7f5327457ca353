"""Texts without HTML: entities become characters, tags go. What only looks like HTML stays, such as `a < b`."""

import html
import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.values.cells import one_chunk

#: An entity ends with a semicolon. Without it, `R&D` and `?a=1&copy=2` would change.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
#: Shops escape twice where one program escapes what another has escaped: `AT&amp;amp;T`.
_PASSES = 2
#: Elements that product texts use. Others stay, because a title may name them: `HTML5 <canvas>`.
_INLINE = "a|abbr|acronym|b|big|cite|code|em|font|i|ins|mark|s|small|span|strike|strong|sub|sup|tt|u|wbr"
_BLOCK = (
    "blockquote|body|br|center|dd|div|dl|dt|figure|h[1-6]|head|hr|html|iframe|img|input|li|meta|ol|p|pre|section|"
    "table|tbody|td|tfoot|th|thead|title|tr|ul"
)
_ATTRIBUTES = r"(?:\s+[A-Za-z_:][\w:.-]*\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>]+))*"
#: Parts whose content is no text.
_HIDDEN = r"(?is)<!--.*?-->|<script\b.*?</script\s*>|<style\b.*?</style\s*>"
_INLINE_TAG = rf"(?i)</?(?:{_INLINE}){_ATTRIBUTES}\s*/?>"
_BLOCK_TAG = rf"(?i)</?(?:{_BLOCK}){_ATTRIBUTES}\s*/?>"


def without_markup(text: Any) -> Any:
    """Texts [N] without HTML; a null stays null.

    Entities with a semicolon become their characters, also those that were escaped twice. Tags of the elements that
    product texts use are taken out: a blank takes the place of a block, such as `<br>`, and nothing that of `<b>`.
    Comments, scripts and styles go with their content. A tag's attributes need values, so that `a <b and c> d` stays.
    """
    for _ in range(_PASSES):
        text = _without_tags(_unescaped(text))
    return text


def _unescaped(text: Any) -> Any:
    suspects = pc.fill_null(pc.match_substring_regex(text, pattern=r"&[#\w]+;"), False)
    if not pc.any(suspects).as_py():
        return text
    flat = one_chunk(text)
    mended = [
        _ENTITY.sub(lambda entity: html.unescape(entity[0]), value)
        for value in flat.filter(one_chunk(suspects)).to_pylist()
    ]
    return pc.replace_with_mask(flat, one_chunk(suspects), pa.array(mended, flat.type))


def _without_tags(text: Any) -> Any:
    if not pc.any(pc.match_substring(text, "<")).as_py():
        return text
    for pattern, blank in ((_HIDDEN, " "), (_INLINE_TAG, ""), (_BLOCK_TAG, " ")):
        text = pc.replace_substring_regex(text, pattern=pattern, replacement=blank)
    return text
