"""The models of other libraries that the quality benchmark compares with."""

from dataclasses import dataclass

from sequences import COLD_ITEMS, SEQUENCE_CASES


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A model of another library."""

    venv: str
    script: str
    model: str
    seeded: bool = False
    """Whether its lists depend on the seed."""
    repeats_only: bool = False
    """Whether it recommends only items that the user already had."""
    of: str = "shops"
    """Whether it is measured on the cases of `cases.py` (`shops`), on those of `sequences.py` whose items are all known
    (`sequences`), on both (`all`), or on withheld items of sequences, which the others do not know (`cold items`)."""
    slow: bool = False
    """Whether the short form of the benchmark leaves it out."""
    imports: tuple[str, ...] = ()
    """Scripts of peers that its script imports."""

    def measures(self, case: str) -> bool:
        """Whether it is measured on a case."""
        if case not in SEQUENCE_CASES:
            return self.of in ("shops", "all")
        return self.of == "cold items" if case.endswith(COLD_ITEMS) else self.of in ("sequences", "all")


PEER_SYSTEMS = {
    "popularity (RecTools)": Peer(venv="rectools", script="rectools_models", model="popularity", of="all"),
    "item kNN, BM25 (implicit)": Peer(venv="field", script="implicit_models", model="item-knn", of="all"),
    "user kNN (LensKit)": Peer(venv="field", script="lenskit_models", model="user-knn"),
    "ALS (implicit)": Peer(venv="field", script="implicit_models", model="als", seeded=True),
    "BPR (implicit)": Peer(venv="field", script="implicit_models", model="bpr", seeded=True),
    "EASE (RecTools)": Peer(venv="rectools", script="recency_models", model="ease"),
    "SASRec (RecTools)": Peer(venv="rectools", script="rectools_models", model="sasrec", seeded=True),
    "EASE, recency": Peer(venv="rectools", script="recency_models", model="ease-recency"),
    "EASE, recency + popularity": Peer(venv="rectools", script="recency_models", model="ease-recency-popularity"),
    "repeat purchase": Peer(venv="rectools", script="recency_models", model="repeat", repeats_only=True),
    "EASE, recency + repeat purchase": Peer(
        venv="rectools", script="recency_models", model="ease-recency-repeat", repeats_only=True
    ),
    "all of these, tuned on validation": Peer(venv="rectools", script="recency_models", model="tuned"),
    "EASE": Peer(venv="rectools", script="sparse_ease", model="ease", of="sequences"),
    "EASE, recency, tuned on validation": Peer(
        venv="rectools", script="sparse_ease", model="ease-recency", of="sequences"
    ),
    "SASRec, sampled softmax (RecTools)": Peer(
        venv="rectools",
        script="sasrec_sampled",
        model="sasrec-sampled",
        seeded=True,
        of="sequences",
        slow=True,
        imports=("rectools_models",),
    ),
    "cosine of texts, MiniLM": Peer(venv="field", script="text_cosine", model="cosine", of="cold items"),
}
