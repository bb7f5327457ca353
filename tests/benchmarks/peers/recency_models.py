"""Strong baselines for shops: RecTools' EASE combined with recency, popularity and repeat purchases.

B is the item × item matrix of EASE, fitted on which users bought which items. A user's row holds 0.8^k for an item last
bought k sessions ago. All events with the same timestamp are one session, so an invoice is one, and so is each rating.
p is the number of distinct buyers in the last days, divided by its maximum. r is Σ 0.5^(age / half-life) over the
purchases of an item (Hu et al., SIGIR 2020).

ease                     row · B with ones in the row
ease-recency             row · B
ease-recency-popularity  row · B + 0.1 p
repeat                   r, half-life 60 days
ease-recency-repeat      r + 2 row · B
tuned                    row · B + a p + b r, all parameters chosen by NDCG@10 on validation data

The products are computed here, since RecTools 0.19's `EASEModel.recommend` multiplies by the transpose of B.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from case_files import Recommend, Task, main, top_of
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import EASEModel
from scipy.sparse import csr_matrix

VALIDATION_DAYS = 14
DECAY, POPULARITY_WEIGHT, REPEAT_HALF_LIFE, EASE_WEIGHT = 0.8, 0.1, 60.0, 2.0


@dataclass(frozen=True)
class Settings:
    """Parameters of `tuned` and their start values."""

    regularization: float = 300.0
    training_half_life: float = np.inf
    """Half-life in days of the weight of a purchase when EASE is fitted."""
    history: tuple[str, float] = ("decay", 1.0)
    """Weight of an item k sessions ago: decay^k, or 1 / log2(k + 2)^power."""
    popularity: float = 0.0
    repeat: float = 0.0
    repeat_half_life: float = 60.0


GRID: dict[str, list] = {
    "regularization": [100.0, 300.0, 1000.0],
    "training_half_life": [10.0, 15.0, 30.0, 60.0, 120.0, np.inf],
    "history": [("decay", value) for value in (0.6, 0.7, 0.8, 0.9, 0.97, 0.99, 1.0)] + [("power", 1.0), ("power", 2.0)],
    "popularity": [0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0],
    "repeat": [0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0],
    "repeat_half_life": [15.0, 30.0, 60.0, 120.0, 240.0],
}


class Signals:
    """The parts of the scores of some users."""

    def __init__(self, task: Task, users: np.ndarray):
        self.task, self.users = task, users
        self.newest = task.frame().assign(days=task.days).drop_duplicates(["user_id", "item_id"], keep="last")
        self.item_matrices: dict[tuple[float, float], np.ndarray] = {}

    def rows(self, kind: str, value: float) -> csr_matrix:
        """[U, I] weight of each item in its user's history, by the number of sessions since it was bought."""
        ago = self.newest.groupby("user_id").days.rank(method="dense").to_numpy() - 1
        weights = value**ago if kind == "decay" else np.log2(ago + 2) ** -value
        return self._matrix(self.newest.user_id, self.newest.item_id, weights)[self.users]

    def ease(self, regularization: float, half_life: float = np.inf) -> np.ndarray:
        """[I, I] weights of EASE. With a half-life, old purchases count less."""
        key = regularization, half_life
        if key not in self.item_matrices:
            frame = self.newest.assign(**{Columns.Weight: 0.5 ** (self.newest.days / half_life)})
            dataset = Dataset.construct(frame[Columns.Interactions])
            model = EASEModel(regularization=regularization).fit(dataset)
            known = dataset.item_id_map.get_external_sorted_by_internal().astype(np.int64)
            matrix = np.zeros((self.task.num_items, self.task.num_items), dtype=np.float32)
            matrix[np.ix_(known, known)] = model.weight
            self.item_matrices[key] = matrix
        return self.item_matrices[key]

    @cached_property
    def popularity(self) -> np.ndarray:
        """[I] distinct buyers in the last days, divided by the maximum."""
        days = self.task.popularity_days or np.inf
        counts = np.bincount(self.newest.item_id[self.newest.days <= days], minlength=self.task.num_items)
        return counts / counts.max()

    def repeats(self, half_life: float, by_invoice: bool) -> np.ndarray:
        """[U, I] decayed count of purchases. ``by_invoice`` counts an item once per invoice."""
        frame = pd.DataFrame({"user": self.task.users, "item": self.task.items, "days": self.task.days})
        if by_invoice:
            frame = frame.drop_duplicates()
        matrix = self._matrix(frame.user, frame.item, 0.5 ** (frame.days / half_life))
        return matrix[self.users].toarray()

    def seen(self) -> csr_matrix:
        """[U, I] non-zero where a user had an item."""
        return self.rows("decay", 1.0)

    def _matrix(self, users: pd.Series, items: pd.Series, weights: np.ndarray) -> csr_matrix:
        return csr_matrix((weights, (users, items)), shape=(self.task.num_users, self.task.num_items))


def ease(task: Task) -> Recommend:
    signals = all_users(task)
    return listed(signals, signals.rows("decay", 1.0) @ signals.ease(Settings().regularization))


def ease_recency(task: Task) -> Recommend:
    signals = all_users(task)
    return listed(signals, _ease_recency(signals))


def ease_recency_popularity(task: Task) -> Recommend:
    signals = all_users(task)
    return listed(signals, _ease_recency(signals) + POPULARITY_WEIGHT * signals.popularity)


def repeat(task: Task) -> Recommend:
    signals = all_users(task)
    scores = signals.repeats(REPEAT_HALF_LIFE, by_invoice=False)
    return listed(signals, np.where(scores > 0, scores, -np.inf))


def ease_recency_repeat(task: Task) -> Recommend:
    signals = all_users(task)
    scores = signals.repeats(REPEAT_HALF_LIFE, by_invoice=False) + EASE_WEIGHT * _ease_recency(signals)
    return listed(signals, scores)


def tuned(task: Task) -> Recommend:
    signals, validation = all_users(task), Validation(task)

    def recommend(exclude_seen: bool) -> np.ndarray:
        settings = Settings() if task.quick else validation.search(exclude_seen)
        return listed(signals, scores_of(signals, settings))(exclude_seen)

    return recommend


def scores_of(signals: Signals, settings: Settings) -> np.ndarray:
    """[U, I] scores of `tuned`. Each user's EASE scores are divided by their maximum."""
    matrix = signals.ease(settings.regularization, settings.training_half_life)
    scores = signals.rows(*settings.history) @ matrix
    scores = scores / np.maximum(np.abs(scores).max(axis=1, keepdims=True), 1e-9)
    scores = scores + settings.popularity * signals.popularity
    if settings.repeat:
        scores = scores + settings.repeat * signals.repeats(settings.repeat_half_life, by_invoice=True)
    return scores


class Validation:
    """The last events of a split as truth, and its other events to learn from."""

    def __init__(self, task: Task):
        if task.protocol == "leave-one-out":
            held = (task.frame().groupby("user_id").cumcount(ascending=False) == 0).to_numpy()
        else:
            held = task.days <= VALIDATION_DAYS
        past = replace(
            task,
            users=task.users[~held],
            items=task.items[~held],
            days=task.days[~held] - (0 if task.protocol == "leave-one-out" else VALIDATION_DAYS),
        )
        truth = pd.DataFrame({"user": task.users[held], "item": task.items[held]}).drop_duplicates()
        self.truth = truth[truth.user.isin(past.users)]
        self.signals = Signals(past, np.unique(self.truth.user))

    def search(self, exclude_seen: bool) -> Settings:
        """Coordinate search over `GRID`, in two rounds."""
        rows = np.searchsorted(self.signals.users, self.truth.user)
        wanted = csr_matrix((np.ones(len(rows)), (rows, self.truth.item)), shape=self.signals.seen().shape).toarray()
        if exclude_seen:
            wanted[self.signals.seen().toarray() > 0] = 0
        best = Settings(repeat=0.0 if exclude_seen else 1.0)
        best_score = self.score(best, wanted, exclude_seen)
        names = [name for name in GRID if not (exclude_seen and name.startswith("repeat"))]
        for name in 2 * names:
            for value in GRID[name]:
                settings = replace(best, **{name: value})
                score = self.score(settings, wanted, exclude_seen)
                if score > best_score:
                    best, best_score = settings, score
        return best

    def score(self, settings: Settings, wanted: np.ndarray, exclude_seen: bool) -> float:
        """Mean NDCG@10 of users with a target."""
        scores = scores_of(self.signals, settings)
        if exclude_seen:
            scores[self.signals.seen().toarray() > 0] = -np.inf
        top = np.argpartition(-scores, 10, axis=1)[:, :10]
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, 1), axis=1), 1)
        discounts = 1 / np.log2(np.arange(2, 12))
        gains = (np.take_along_axis(wanted, top, 1) * discounts).sum(axis=1)
        number = wanted.sum(axis=1).astype(int)
        ideal = np.concatenate([[0], np.cumsum(discounts)])[np.minimum(number, 10)]
        return float((gains[number > 0] / ideal[number > 0]).mean())


def all_users(task: Task) -> Signals:
    return Signals(task, np.arange(task.num_users))


def _ease_recency(signals: Signals) -> np.ndarray:
    return signals.rows("decay", DECAY) @ signals.ease(Settings().regularization)


def listed(signals: Signals, scores: np.ndarray) -> Recommend:
    """Lists from scores [U, I]."""

    def recommend(exclude_seen: bool) -> np.ndarray:
        kept = np.where(signals.seen().toarray() > 0, -np.inf, scores) if exclude_seen else scores
        return top_of(kept, signals.task.top_k)

    return recommend


if __name__ == "__main__":
    models = {
        "ease": ease,
        "ease-recency": ease_recency,
        "ease-recency-popularity": ease_recency_popularity,
        "repeat": repeat,
        "ease-recency-repeat": ease_recency_repeat,
        "tuned": tuned,
    }
    main(models)
