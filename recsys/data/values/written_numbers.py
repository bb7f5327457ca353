"""Numbers as people write them: "1,299.00", "1.299,00 €", "£8.50", "1 299"."""

import math
import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: One number: groups of thousands, then cents, with points or commas; no digit follows.
NUMBER = r"(\d{1,3}(?:[.,]\d{3})+(?:[.,]\d{1,2})?|\d{1,9}(?:[.,]\d{1,2})?)(?![.,]?\d)"
_ONE_NUMBER = re.compile(rf"[^\d-]*{NUMBER}\D*")
#: Blanks and apostrophes between groups of three digits.
_BETWEEN_GROUPS = re.compile(r"(?<=\d)[\s'’](?=\d{3}(?!\d))")


def written_number(text: str) -> float:
    """The number in a text that `NUMBER` matches: three digits after a point or comma are thousands, fewer are cents.

    >>> written_number("1,299.99"), written_number("12,99"), written_number("1.299")
    (1299.99, 12.99, 1299.0)
    """
    return float(re.sub(r"[.,](?=\d{3}(?!\d))", "", text).replace(",", "."))


def number_in(text: str) -> float:
    """The only number in a text, NaN where there is none or several. What a program wrote ("8.125") is read as it is.

    >>> number_in("£8.50"), number_in("1 299.00"), number_in("8.125"), number_in("10 to 20")
    (8.5, 1299.0, 8.125, nan)
    """
    try:
        number = float(text)
    except ValueError:
        found = _ONE_NUMBER.fullmatch(_BETWEEN_GROUPS.sub("", text.strip()))
        return written_number(found[1]) if found else math.nan
    return number if math.isfinite(number) else math.nan


def numbers_in(texts: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """[N] `number_in` each text, NaN where it is null.

    >>> numbers_in(pa.chunked_array([["£8.50", None, "free"]])).tolist()
    [8.5, nan, nan]
    """
    encoded = texts.combine_chunks().dictionary_encode()
    numbers = np.array([number_in(text) for text in encoded.dictionary.to_pylist()] + [np.nan])
    places = pc.fill_null(encoded.indices, len(numbers) - 1).to_numpy(zero_copy_only=False)
    return np.asarray(numbers[places], dtype=np.float64)
