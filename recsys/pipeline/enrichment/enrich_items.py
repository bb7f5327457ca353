"""The stage `enrich`: a summary and keywords for each item, and the text that the encoder reads of it."""

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.values.templates import filled_template
from recsys.data.values.texts import hash_texts
from recsys.enrichment.config import ItemTextsConfig
from recsys.enrichment.request import Facts, request_for
from recsys.enrichment.written_text import WrittenText
from recsys.pipeline.enrichment.write_texts import TextWriter, enrich_config, write_missing
from recsys.pipeline.inputs.item_sayings import Sayings, gather_sayings
from recsys.pipeline.model_records import EnrichedItems
from recsys.pipeline.run import Run
from recsys.pipeline.stored.stored_item_counts import read_item_counts
from recsys.schema import ITEM_TEXTS
from recsys.storage.tables import read_table, write_table

logger = logging.getLogger(__name__)

#: Characters of an attribute that is a fact.
_MOST_CHARS = 200
_TEXT_KEY = "enrich.items.text"
#: Written texts make the text of an item longer than `inputs.items.max_text_chars` allows it to be by itself.
_LONGEST = 4000


def enrich_items(run: Run) -> EnrichedItems:
    """Have texts written for the items that need one, and write ITEM_TEXTS of the whole catalog.

    Raises:
        ConfigError: the back end cannot be loaded, or a template is wrong.
    """
    spec = enrich_config(run).items
    assert spec is not None, "the stage applies only to configs with enrich.items"
    catalog = read_table(run.storage, run.catalog_path)
    sayings = gather_sayings(run, spec)
    requests = [request_for(facts, spec) for facts in item_facts(catalog, spec, sayings)]
    writer = TextWriter.of(run, spec)
    order = importance(run, catalog["item_id"].combine_chunks())
    found = write_missing(run, "enrich", writer, [requests[place] for place in order])
    texts = [found.texts.get(request.key) for request in requests]
    table = item_texts(catalog, texts, spec.text, writer.model(enrich_config(run)), writer.prompt_hash)
    write_table(run.storage, run.item_texts_path, table, ITEM_TEXTS)
    enriched = sum(text is not None for text in texts)
    logger.info(
        "enrich: %s of %s items have a written text, %s wait for the next night",
        *(f"{count:,}" for count in (enriched, len(texts), found.counts["waiting"])),
    )
    return EnrichedItems(rows=len(catalog), enriched=enriched, path=run.item_texts_path, **found.counts)


def item_facts(catalog: pa.Table, spec: ItemTextsConfig, sayings: Sayings) -> list[Facts]:
    """What is known of each item: its text, its attributes, and what users say about it."""
    texts, ids = catalog["text"].to_pylist(), catalog["item_id"].to_pylist()
    attributes = [dict(pairs) for pairs in catalog["attributes"].to_pylist()]
    return [
        {
            "text": text,
            **_attributes(known, text, spec.attributes),
            "reviews": sayings["review"].get(item, []),
            "searches": sayings["search"].get(item, []),
        }
        for item, text, known in zip(ids, texts, attributes, strict=True)
    ]


def _attributes(known: dict[str, str], text: str, chosen: Sequence[str] | None) -> dict[str, str]:
    """The attributes that say more than the text, sorted. Names of our own facts cannot be taken by an attribute."""
    names = sorted(known if chosen is None else set(known) & set(chosen))
    shown = {f"attribute {name}": known[name][:_MOST_CHARS] for name in names}
    return {name: value for name, value in shown.items() if not _has_words(text, value)}


def _has_words(text: str, value: str) -> bool:
    """Whether a text has a value as whole words: `5` is not in `50 W`."""
    start = text.find(value)
    while start >= 0:
        end = start + len(value)
        if not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()):
            return True
        start = text.find(value, start + 1)
    return False


def importance(run: Run, item_ids: pa.Array) -> npt.NDArray[np.int64]:
    """[I] places of the items in the order in which their texts are written.

    Those with most events in the last seven days come first, then new items, then the others by all of their events.
    """
    week = read_item_counts(run, "full_7d", item_ids)
    ever = read_item_counts(run, "full", item_ids)
    return np.lexsort((np.arange(len(item_ids)), -ever, ever > 0, -week))


def item_texts(
    catalog: pa.Table, written: Sequence[WrittenText | None], template: str, model: str, prompts: str
) -> pa.Table:
    """ITEM_TEXTS of the catalog.

    Args:
        catalog: CATALOG, I items.
        written: [I] None: nothing was written, and the item keeps its own text.
        template: Of what the encoder reads.
        model: That wrote.
        prompts: Digest of its prompt templates.
    """
    own = catalog["text"].combine_chunks()
    has_text = pa.array([text is not None for text in written])
    summaries = pa.array([text.summary if text else "" for text in written], pa.string())
    keywords = [text.keywords if text else [] for text in written]
    repeats = pa.array(
        [text is not None and text.summary in said for text, said in zip(written, own.to_pylist(), strict=True)]
    )
    values = {
        "text": pc.utf8_rtrim(own, characters=" ."),  # the template ends it
        "summary": pc.if_else(repeats, "", summaries),  # a sentence of the text says nothing new
        "keywords": pa.array([", ".join(words) for words in keywords], pa.string()),
    }
    filled = filled_template(template, _TEXT_KEY, values, len(catalog), _LONGEST)
    texts = pc.if_else(has_text, filled, own)
    columns = [
        catalog["item_id"],
        texts,
        hash_texts(texts),
        summaries,
        pa.array(keywords, ITEM_TEXTS.field("keywords").type),
        *(pc.if_else(has_text, value, "") for value in (model, prompts)),
    ]
    return pa.table(columns, schema=ITEM_TEXTS)
