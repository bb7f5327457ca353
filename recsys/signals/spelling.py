"""How alike texts are spelled: the runs of letters that they share; it knows no language and no items.

What a text means hides what it says: to a language model one lantern is like another, and those of one series, which
sell alike, differ from it in a word. Runs of letters see that word, in any script, and inflected.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

#: Letters of a run; runs stay within a word and see where it begins and ends.
_LETTERS = (3, 5)
#: Numbers that stand for the runs: hardly two of a catalog share one, and no table of them is kept.
_NUMBERS = 2**20
#: Letters that are read of a text: what it is called stands in front, and the rest would cost as much as it is long.
_READ = 100
#: Runs that a larger share of the texts hold tell hardly anything, and would make all texts a little alike.
_COMMON_SHARE, _FEW_TEXTS = 0.1, 100


def spellings(texts: Sequence[str]) -> sp.csr_array:
    """[N, G] float32 rows of length 1 (or 0): how often each run of letters is there, rare ones the more (TF-IDF)."""
    # not at the top: half a second and 36 MB in every process that only reads what was found
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    counter = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=_LETTERS,
        n_features=_NUMBERS,
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    )
    counts = counter.transform([text[:_READ] for text in texts])
    most = max(_COMMON_SHARE * len(texts), _FEW_TEXTS)
    counts.data[np.bincount(counts.indices, minlength=_NUMBERS)[counts.indices] > most] = 0
    counts.eliminate_zeros()
    return sp.csr_array(TfidfTransformer(sublinear_tf=True).fit_transform(counts))
