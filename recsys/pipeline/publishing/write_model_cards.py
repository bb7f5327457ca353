"""The cards of a night's models, as ``README.md`` beside their weights: gathered from what the stages recorded."""

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

from recsys.errors import ConfigError
from recsys.evaluation.segments import Estimate
from recsys.model.base_licence import licence_in
from recsys.model.checkpoint import ModelCard
from recsys.model.config import OTHER_STORAGE
from recsys.model.encoder_source import cached_folder, resolve_model
from recsys.pipeline.encoders.compressed_encoder import require_compressed
from recsys.pipeline.model_records import FittedFusion, GateVerdict
from recsys.pipeline.run import Run
from recsys.pipeline.stages import (
    FINETUNE,
    FIT_FUSION,
    INGEST_CATALOG,
    INGEST_EVENTS,
    REFIT,
    RUN_GATE,
    SHUFFLE_HISTORIES,
)
from recsys.pipeline.stored.published_model import model_card
from recsys.report.model_card import CardFacts, Measured, code, render_model_card
from recsys.schema import ALL_USERS
from recsys.storage.filesystem import Storage

_UNKNOWN = "not named in its folder; look at where it comes from"


def write_model_cards(run: Run) -> None:
    """Write the card of the model of this night, and of its refit; without a fitted model there is none."""
    if run.done(FINETUNE) is None or run.done(FIT_FUSION) is None:
        return
    for model_id in (run.model_id, *([run.refit_id] if run.done(REFIT) is not None else [])):
        page = render_model_card(_facts(run, model_card(run, model_id)))
        run.storage.write_bytes(run.card_path(model_id), page.encode())


def _facts(run: Run, card: ModelCard) -> CardFacts:
    fused, gate = run.record(FIT_FUSION), run.done(RUN_GATE)
    verdict = None if gate is None else gate.record
    columns = list(dict.fromkeys([*fused.weights, *fused.weights_short, *fused.weights_session]))
    # without weights of their own, sessions take those of short histories
    kinds = (fused.weights, fused.weights_short, fused.weights_session or fused.weights_short)
    return CardFacts(
        model_id=card.model_id,
        night=run.date.isoformat(),
        run_id=run.folder.run_id,
        made_from=_made_from(run, card),
        data=_data(run, card),
        network=_network(run, card),
        training=_training(run, card),
        weights={name: [kind.get(name, 0.0) for kind in kinds] for name in columns},
        trees=fused.trees,
        verdict="The gate has not measured it." if verdict is None else f"The gate: {code(verdict.reason)}.",
        metrics=_metrics(fused, verdict),
        licences=_licences(run),
        limits=_limits(card, verdict),
    )


def _made_from(run: Run, card: ModelCard) -> str:
    record = run.record(FINETUNE)
    if card.base is not None and record.since:  # also where nothing was new before the held-out days
        return (
            f"It continues {code(card.base)} with the days that were held out from it (a refit), and replayed events."
        )
    if record.reused and record.warm_start == "none":
        return f"It was not trained ({code(record.reused)}): its ranker has random weights, and no list uses it."
    if record.reused:
        return f"It is the model {code(record.warm_start)}, used again: {code(record.reused)}."
    if not card.trained:
        return "It had nothing to learn from: its ranker has random weights, and no list uses it."
    if card.base is not None:
        return f"It continues {code(card.base)} with the days that were held out from it (a refit)."
    if record.since:
        return f"It continues {code(record.warm_start)} with the events since {record.since[:10]} and older ones."
    if record.warm_start != "none":
        return f"Its training began with the weights of {code(record.warm_start)}."
    return "Its training began with random weights."


def _data(run: Run, card: ModelCard) -> dict[str, str]:
    events, histories, catalog = run.record(INGEST_EVENTS), run.record(SHUFFLE_HISTORIES), run.record(INGEST_CATALOG)
    return {
        "events": f"{events.accepted:,}, from {histories.oldest[:16]} to {events.newest[:16]} (UTC)"
        if events.accepted
        else "none",
        "it learned from events before": f"{card.trained_until[:16]} (UTC)",
        "held out": f"the last {run.config.gate.holdout_days} days, {histories.held_out_users:,} users"
        if run.protocol == "time"
        else f"the last event of each of {histories.held_out_users:,} users",
        "users": f"{histories.users:,}",
        "items": f"{catalog.items:,}, of which {catalog.available:,} are available",
        "kinds of events": ", ".join(map(code, events.kinds)) or "none",
    }


def _network(run: Run, card: ModelCard) -> dict[str, str]:
    spec, encoder = card.spec, run.config.encoder
    decoder = spec.decoder
    parts = {"both": "its text and an embedding of its id", "text": "its text", "ids": "an embedding of its id"}
    return {
        "text encoder": f"{code(encoder.model or 'a small one, trained on the catalog')}, training: {encoder.train}",
        "vector of a text": f"{spec.text_dim} numbers",
        "vector of an item": f"{spec.item_dim} numbers, of {parts[spec.parts]}",
        "decoder": f"{code(run.config.ranker.model or str(decoder.get('model_type', 'decoder')))}, "
        f"{decoder.get('num_hidden_layers', '?')} layers of width {decoder.get('hidden_size', '?')}",
        "parameters of the ranker": f"{num_parameters(run.storage, run.model_path(card.model_id)):,}",
        "newest events that it reads of a user": f"{card.max_length}",
    }


def _training(run: Run, card: ModelCard) -> dict[str, str]:
    config, record, refit = run.config.train, run.record(FINETUNE), run.done(REFIT)
    rows = {
        "objective": f"{config.objective}; over all items up to {config.full_softmax_items:,}, else sampled"
        if config.objective == "softmax"
        else config.objective,
        "windows": f"{record.windows:,}",
        "epochs": f"{record.epochs}, the best is {record.best_epoch}",
        "loss of the best epoch": f"{record.loss:.4f}",
        "learning rate, batch": f"{config.learning_rate:g}, {config.batch_size} windows",
        "NDCG@10 on validation": f"{record.validation_ndcg:.4f} with {record.validation_users:,} users (ranker alone)"
        if record.validation_users
        else "not measured",
        "candidate pass": "used" if record.candidate_pass else "not used",
    }
    if refit is not None and card.base is not None:
        rows["refit"] = f"{refit.record.windows:,} windows, loss {refit.record.loss:.4f}"
    return rows


def _metrics(fused: FittedFusion, verdict: GateVerdict | None) -> Sequence[Measured]:
    """What the gate measured on held-out days, and what validation measured."""
    rows = []
    for part in verdict.segments if verdict is not None else ():
        if part.model is None:
            continue
        rows.append(_measured(f"{part.metric}, held-out days, {part.segment}", part.model, part.users))
        if part.segment == ALL_USERS:
            for name, rival in part.baselines.items():
                other = "the published model" if name == "published" else name
                rows.append(
                    _measured(f"{part.metric}, difference from {other}", rival.difference, part.users, sign="+")
                )
    if fused.alone:  # else the weights are the default ones, which nobody measured
        rows.append(Measured(what="ndcg@10, validation users", value=f"{fused.ndcg:.4f}", users=fused.users))
    for name, gain in fused.gains.items():
        interval = f"{gain.low:+.1f} … {gain.high:+.1f} %"
        what = f"ndcg@10, what {code(name)} adds on validation"
        rows.append(Measured(what=what, value=f"{gain.percent:+.1f} %", interval=interval, users=gain.users))
    return rows


def _measured(what: str, estimate: Estimate, users: int, sign: str = "") -> Measured:
    mean, low, high = (f"{value:{sign}.4f}" for value in (estimate.mean, estimate.low, estimate.high))
    return Measured(what=what, value=mean, interval=f"{low} … {high}", users=users)


def _licences(run: Run) -> dict[str, str]:
    """The licence of each pretrained model, as its folder on this machine says it; nothing is asked of the network."""
    encoder, ranker = run.config.encoder, run.config.ranker
    bases = {encoder.model: encoder.revision, ranker.model: ranker.revision}
    if encoder.model is not None and encoder.is_compressed:
        del bases[encoder.model]
        source = require_compressed(run.storage, encoder.model)
        bases[source.model] = source.revision
    return {model: _licence(model, revision) for model, revision in bases.items() if model is not None}


def _licence(model: str, revision: str | None) -> str:
    if model.startswith(OTHER_STORAGE):
        return "that of the other shop's encoder"
    try:
        resolved = Path(resolve_model(model, revision))
        folder = resolved if resolved.is_dir() else cached_folder(model, revision)
    except ConfigError:  # the machine that trained had it, this one does not
        folder = None
    return (folder and licence_in(folder)) or _UNKNOWN


def _limits(card: ModelCard, verdict: GateVerdict | None) -> list[str]:
    limits = [
        "It knows the users and the catalog of one shop. Scores can be compared only inside one list.",
        "It learned from what people saw and took, so it repeats what the shop showed before.",
        "An item without events is ranked by its text, and by what is known of items with similar texts. A user "
        "without events gets what is popular.",
        f"Of a user it reads the newest {card.max_length} events.",
    ]
    if card.base is not None:
        limits.append("The figures above are of the model that the refit continues: no days are left to measure it on.")
    if verdict is not None and verdict.verdict == "not_examined":
        limits.append("Too few users were held out to compare it with popularity.")
    if verdict is not None and verdict.verdict == "refused":
        limits.append("The gate refused it.")
    return limits


def num_parameters(storage: Storage, folder: str) -> int:
    """Numbers in the weights of a ranker, by the header of the file: the weights are not read."""
    path = f"{folder}/ranker.safetensors"
    with io.BufferedReader(storage.open_file(path)) as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
