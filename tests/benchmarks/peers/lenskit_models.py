"""LensKit: its scorers in its standard top-N pipeline."""

import numpy as np
import pandas as pd
from case_files import Recommend, Task, main, top_from_frame
from lenskit import batch
from lenskit.basic import PopScorer
from lenskit.basic.candidates import TrainingItemsCandidateConfig, TrainingItemsCandidateSelector
from lenskit.data import Dataset, from_interactions_df
from lenskit.knn import ItemKNNScorer, UserKNNScorer
from lenskit.pipeline import Component, Pipeline, RecPipelineBuilder


def dataset_of(task: Task) -> Dataset:
    """A dataset with each pair of user and item once."""
    return from_interactions_df(task.frame()[["user_id", "item_id"]].drop_duplicates())


def pipeline_of(scorer: Component, dataset: Dataset, top_k: int, exclude_seen: bool) -> Pipeline:
    """The trained standard pipeline. It leaves out items that the user had, unless candidates are given."""
    builder = RecPipelineBuilder()
    builder.scorer(scorer)
    builder.ranker(n=top_k)
    selection = TrainingItemsCandidateConfig(exclude="query" if exclude_seen else None)
    builder.candidate_selector(TrainingItemsCandidateSelector, selection)
    pipeline = builder.build()
    pipeline.train(dataset)
    return pipeline


def item_knn(task: Task) -> Recommend:
    """Item kNN (Deshpande & Karypis, TOIS 2004) for implicit feedback."""
    return fitted(ItemKNNScorer(k=20, feedback="implicit"), task)


def user_knn(task: Task) -> Recommend:
    """User kNN for implicit feedback."""
    return fitted(UserKNNScorer(k=30, feedback="implicit"), task)


def popularity(task: Task) -> Recommend:
    """Popularity of items."""
    return fitted(PopScorer(), task)


def fitted(scorer: Component, task: Task) -> Recommend:
    """Train at the first call, since the pipeline depends on whether seen items are allowed."""
    dataset = dataset_of(task)

    def recommend(exclude_seen: bool) -> np.ndarray:
        pipeline = pipeline_of(scorer, dataset, task.top_k, exclude_seen)
        lists = batch.recommend(pipeline, np.arange(task.num_users), task.top_k, n_jobs=1).to_df()
        return top_from_frame(pd.DataFrame(lists), task.num_users, task.top_k)

    return recommend


if __name__ == "__main__":
    main({"item-knn": item_knn, "user-knn": user_knn, "popularity": popularity})
