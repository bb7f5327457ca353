"""The stages of a night: each is declared here once. `jobs/nightly.py` lists them in their order.

This file imports nothing heavy: a stage's function is imported when the stage runs.
"""

from recsys.pipeline import input_records, list_records, model_records
from recsys.pipeline.stage import Condition, Stage
from recsys.settings import Config


def _all_cpus(_: Config) -> str:
    return "all CPUs"


def _driver(_: Config) -> str:
    return "driver"


def _encoding(config: Config) -> str:
    return _pool(config.encoder.num_workers, config.encoder.use_gpu)


def _writing(config: Config) -> str:
    from recsys.enrichment.backends.registry import BACKENDS, backend_settings

    if config.enrich is None:  # a table of all stages asks
        return "all CPUs"
    backend, settings = BACKENDS[config.enrich.backend], backend_settings(config.enrich)
    return _pool(backend.workers(settings), bool(backend.gpus(settings)))


def _training(config: Config) -> str:
    return _pool(config.train.num_workers, config.train.use_gpu)


def _scoring(config: Config) -> str:
    return _pool(config.recommend.num_workers, config.recommend.use_gpu)


def _pool(num_workers: int | None, use_gpu: bool) -> str:
    device = "GPU" if use_gpu else "CPU"
    return f"all {device}s" if num_workers is None else f"{num_workers} × {device}"


INGEST_CATALOG = Stage(
    name="catalog",
    function="recsys.pipeline.inputs.ingest_catalog:ingest_catalog",
    record=input_records.IngestedCatalog,
    summary="Reads every version of every item, keeps the latest, and writes the catalog.",
    reads=("inputs.items",),
    writes=("{run}/catalog.parquet", "{run}/quarantine/"),
    intermediate=("versions",),
    workers=_all_cpus,
)

INGEST_USERS = Stage(
    name="users",
    function="recsys.pipeline.inputs.ingest_users:ingest_users",
    record=input_records.IngestedUsers,
    summary="Reads every version of every user, keeps the latest, and writes the users' texts by shard.",
    reads=("inputs.users",),
    writes=("{run}/profiles/", "{run}/quarantine/"),
    intermediate=("versions",),
    workers=_all_cpus,
    condition=Condition("with `inputs.users`", lambda config: config.inputs.users is not None),
)

INGEST_EVENTS = Stage(
    name="ingest",
    function="recsys.pipeline.inputs.ingest_events:ingest_events",
    record=input_records.IngestedEvents,
    summary="Normalises every event up to the night's date, or puts it into quarantine with a reason.",
    reads=("inputs.events", "validated/", "feedback/", "{run}/catalog.parquet"),
    writes=("{run}/events/", "{run}/quarantine/", "validated/"),
    intermediate=("events", "feedback"),
    workers=_all_cpus,
)

SHUFFLE_HISTORIES = Stage(
    name="histories",
    function="recsys.pipeline.inputs.shuffle_histories:shuffle_histories",
    record=input_records.ShuffledHistories,
    summary="Brings the events of each user together in one shard: the only shuffle of the night.",
    reads=("{run}/events/", "{run}/profiles/"),
    writes=("{histories}/", "{run}/interactions/", "{run}/item_counts_*.parquet"),
    intermediate=("item_counts", "user_texts"),
    workers=_all_cpus,
)

ENRICH_ITEMS = Stage(
    name="enrich",
    function="recsys.pipeline.enrichment.enrich_items:enrich_items",
    record=model_records.EnrichedItems,
    summary="Has a summary and keywords written for new and changed items, within the night's budget.",
    reads=("{run}/catalog.parquet", "{run}/interactions/", "{run}/searches/", "written_texts/<writer id>/"),
    writes=("written_texts/<writer id>/", "{run}/item_texts.parquet"),
    intermediate=("item_sayings", "text_requests"),
    workers=_writing,
    condition=Condition("with `enrich.items`", lambda config: config.writes_item_texts),
)

ENRICH_USERS = Stage(
    name="enrich_users",
    function="recsys.pipeline.enrichment.enrich_users:enrich_users",
    record=model_records.EnrichedUsers,
    summary="Has a profile of interests written for users with enough events, within the night's budget.",
    reads=("{run}/interactions/", "{run}/item_texts.parquet", "written_texts/<writer id>/"),
    writes=("written_texts/<writer id>/", "{run}/user_profiles/", "{histories}/"),
    intermediate=("user_facts", "text_requests"),
    workers=_writing,
    condition=Condition("with `enrich.users`", lambda config: config.writes_profiles),
)

ENCODE_TEXTS = Stage(
    name="encode",
    function="recsys.pipeline.encoders.encode_texts:encode_items",
    record=model_records.EncodedTexts,
    summary="Turns the texts of items and users that have no stored vector into vectors.",
    reads=("{run}/catalog.parquet", "{run}/item_texts.parquet", "{run}/user_texts/"),
    writes=("items/<encoder digest>/", "{run}/text_vectors/"),
    intermediate=("texts",),
    workers=_encoding,
)

LEARN_BASKETS = Stage(
    name="baskets",
    function="recsys.pipeline.encoders.learn_baskets:learn_baskets",
    record=model_records.LearnedBaskets,
    summary="Trains the text encoder on users' baskets, keeps its best state, and encodes all texts with it.",
    reads=("{run}/interactions/", "{run}/catalog.parquet", "models/"),
    writes=(
        "{model}/encoder/",
        "items/<encoder digest>/",
        "{run}/text_vectors/",
        "{run}/item_counts_held_out.parquet",
    ),
    intermediate=("baskets",),
    workers=_training,
    condition=Condition("with `encoder.train: baskets`", lambda config: config.encoder.train == "baskets"),
)

FINETUNE = Stage(
    name="finetune",
    function="recsys.pipeline.training.train:finetune",
    record=model_records.TrainedModel,
    summary="Trains the ranker on all events before the holdout, and the encoder where it learns.",
    reads=("{run}/interactions/", "{run}/text_vectors/", "models/"),
    writes=("{model}/", "{run}/item_counts_held_out.parquet"),
    intermediate=("train",),
    workers=_training,
)

REENCODE = Stage(
    name="reencode",
    function="recsys.pipeline.encoders.encode_texts:encode_tuned",
    record=model_records.EncodedTexts,
    summary="Encodes all texts with the encoder that was trained with the model.",
    reads=("{model}/", "{run}/catalog.parquet"),
    writes=("items/<encoder digest>/", "{run}/text_vectors/"),
    intermediate=("texts",),
    workers=_encoding,
    condition=Condition("where the encoder learns (`encoder.train`)", lambda config: config.encoder.learns),
)

COUNT_SIGNALS = Stage(
    name="signals",
    function="recsys.pipeline.scoring.count_signals:count_signals",
    record=model_records.CountedSignals,
    summary="Counts in the interactions what each signal needs: transitions, EASE, popularity by day, returns.",
    reads=("{run}/interactions/", "{run}/catalog.parquet"),
    writes=("{run}/signals/",),
    intermediate=("signal_counts",),
    workers=_all_cpus,
)

MATCH_COLD_ITEMS = Stage(
    name="cold",
    function="recsys.pipeline.scoring.match_cold_items:match_cold_items",
    record=model_records.MatchedColdItems,
    summary="Finds for each cold item its donors: the known items with the most similar texts.",
    reads=("{run}/text_vectors/", "{run}/item_counts_*.parquet", "{run}/non_positives/"),
    writes=("{run}/donors/",),
    workers=lambda _: "2 × CPU",
)

READ_TITLES = Stage(
    name="titles",
    function="recsys.pipeline.scoring.read_titles:read_titles",
    record=model_records.ReadTitles,
    summary="Has the language model say for each new title how likely it is without a history.",
    reads=("{run}/catalog.parquet", "recommendations/LATEST.json"),
    writes=("{run}/title_priors.parquet",),
    intermediate=("new_titles",),
    workers=_scoring,
    condition=Condition("with `lm`", lambda config: config.lm is not None),
)

FIT_FUSION = Stage(
    name="fuse",
    function="recsys.pipeline.scoring.fit_fusion:fit_fusion",
    record=model_records.FittedFusion,
    summary="Fits the weights of the signals, and trees that correct them, on validation users.",
    reads=("{model}/", "{run}/interactions/", "{run}/signals/", "{run}/donors/"),
    writes=("{model}/fusion*.json", "{model}/training.json"),
    intermediate=("choices",),
    workers=_scoring,
)

RUN_GATE = Stage(
    name="gate",
    function="recsys.pipeline.measuring.run_gate:run_gate",
    record=model_records.GateVerdict,
    summary="Compares the new model with popularity and with the published model on the held-out days.",
    reads=("{model}/", "{run}/interactions/", "recommendations/LATEST.json"),
    writes=(),  # and `{model}/fusion.json`, where nothing was learned and popularity is better
    workers=_scoring,
)

REFIT = Stage(
    name="refit",
    function="recsys.pipeline.training.train:refit",
    record=model_records.RefittedModel,
    summary="Continues the training of the model with the held-out days.",
    reads=("{model}/", "{run}/interactions/"),
    writes=("{refit}/",),
    intermediate=("train",),
    workers=_training,
    condition=Condition("with `train.refit`", lambda config: config.train.refit),
)

WRITE_LISTS = Stage(
    name="recommend",
    function="recsys.pipeline.lists.write_lists:recommend",
    record=list_records.WrittenLists,
    part=list_records.WrittenShard,
    num_parts=lambda record: record.shards,
    summary="Writes the list of every user, shard by shard.",
    reads=("{model}/", "{histories}/", "{run}/catalog.parquet"),
    writes=("{lists}/",),
    workers=_scoring,
)

CHECK_LISTS = Stage(
    name="check",
    function="recsys.pipeline.lists.check_lists:check_written_lists",
    record=list_records.CheckedLists,
    summary="Checks the finished lists, by themselves and against the published night.",
    reads=("{lists}/", "{run}/catalog.parquet", "recommendations/LATEST.json"),
    writes=("{run}/item_places.parquet",),
    workers=_all_cpus,
    stays=lambda record: record.verdict == "passed" and bool(record.item_places),
)

WRITE_SIMILAR_ITEMS = Stage(
    name="similar_items",
    function="recsys.pipeline.lists.write_similar_items:write_similar_items",
    record=list_records.WrittenSimilarItems,
    part=list_records.WrittenTableFile,
    num_parts=lambda record: record.files,
    summary="Writes the similar items of every item of the catalog.",
    reads=("{model}/", "{run}/signals/", "{run}/catalog.parquet"),
    writes=("{similar_items}/",),
    workers=_scoring,
    condition=Condition("with `similar_items.publish`", lambda config: config.similar_items.publish),
)

PUBLISH_LISTS = Stage(
    name="publish",
    function="recsys.pipeline.publishing.publish_lists:publish_lists",
    record=list_records.PublishedLists,
    summary="Writes the tables for analysts and the manifest, then points LATEST to the lists.",
    reads=("{lists}/", "{run}/item_places.parquet"),
    writes=("metrics/", "item_report/", "{lists}/_MANIFEST.json", "recommendations/LATEST.json"),
    workers=_driver,
    stays=lambda _: False,  # a published night does not come here: its manifest or its pointer is lost
)
