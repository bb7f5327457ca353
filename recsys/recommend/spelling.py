"""How alike texts are spelled: the runs of letters that they share; it knows no language and no items.

What a text means hides what it says: to a language model one lantern is like another, and those of one series, which
sell alike, differ from it in a word. Runs of letters see that word, in any script, and inflected.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

#: Letters of a run; runs stay within a word and see where it begins and ends.
_LETTERS = (3, 5)
#: Numbers that stand for the runs: hardly two of a catalog share one, and no table of them is kept.
_NUMBERS = 2**20


def spellings(texts: Sequence[str]) -> sp.csr_array:
    """[N, G] float32 rows of length 1 (or 0): how often each run of letters is there, rare ones the more (TF-IDF)."""
    runs = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=_LETTERS,
        n_features=_NUMBERS,
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    )
    return sp.csr_array(TfidfTransformer(sublinear_tf=True).fit_transform(runs.transform(texts)))
