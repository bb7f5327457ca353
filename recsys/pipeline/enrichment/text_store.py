"""Texts that were written, for all nights: WRITTEN_TEXTS below `written_texts/<writer id>/`, by a hash of the facts.

A worker adds a file when a part is written, so that an interruption loses one part at most. Names of files begin with
the run that wrote them.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from recsys.enrichment.request import TextReply, TextRequest
from recsys.enrichment.written_text import WrittenText
from recsys.pipeline.publishing.retention_plan import TEXT_STORE
from recsys.schema import WRITTEN_TEXTS
from recsys.storage.filesystem import Storage
from recsys.storage.tables import read_table, write_table


def store_texts(
    storage: Storage,
    writer_id: str,
    run_id: str,
    requests: Sequence[TextRequest],
    replies: Sequence[TextReply],
    texts: Sequence[WrittenText],
) -> None:
    """Store what came of some requests. Failures are stored for their tokens; their texts are still missing."""
    rows = [
        {
            "key": request.key,
            "summary": text.summary,
            "keywords": text.keywords,
            "refused": text.refused,
            "error": reply.error,
            "input_tokens": reply.input_tokens,
            "output_tokens": reply.output_tokens,
        }
        for request, reply, text in zip(requests, replies, texts, strict=True)
    ]
    path = f"{TEXT_STORE}/{writer_id}/{_prefix(run_id)}{uuid.uuid4().hex}.parquet"
    write_table(storage, path, pa.Table.from_pylist(rows, schema=WRITTEN_TEXTS), WRITTEN_TEXTS)


def read_texts(storage: Storage, writer_id: str) -> dict[str, WrittenText]:
    """The stored texts of a writer by key, also those that were refused."""
    found: dict[str, WrittenText] = {}
    for table in _tables(storage, writer_id, ""):
        for row in table.filter(pc.equal(table["error"], "")).to_pylist():
            found[row["key"]] = WrittenText(summary=row["summary"], keywords=row["keywords"], refused=row["refused"])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TextsOfRun:
    """What one run has asked one writer for."""

    written: frozenset[str]
    """Keys of the texts that were written, also of those that were refused."""
    errors: dict[str, str]
    """Why others failed, by key."""
    input_tokens: int
    output_tokens: int


def texts_of_run(storage: Storage, writer_id: str, run_id: str) -> TextsOfRun:
    """What a run has asked for so far, also before an interruption."""
    asked = pa.concat_tables([WRITTEN_TEXTS.empty_table(), *_tables(storage, writer_id, _prefix(run_id))])
    done = pc.equal(asked["error"], "")
    failed = asked.filter(pc.invert(done))
    return TextsOfRun(
        written=frozenset(asked["key"].filter(done).to_pylist()),
        errors=dict(zip(failed["key"].to_pylist(), failed["error"].to_pylist(), strict=True)),
        input_tokens=pc.sum(asked["input_tokens"]).as_py() or 0,
        output_tokens=pc.sum(asked["output_tokens"]).as_py() or 0,
    )


def _prefix(run_id: str) -> str:
    return f"{run_id}-texts-"  # the id of a repeated run begins with that of the first one


def _tables(storage: Storage, writer_id: str, prefix: str) -> list[pa.Table]:
    folder = f"{TEXT_STORE}/{writer_id}"
    names = sorted(name for name in storage.list(folder) if name.startswith(prefix) and name.endswith(".parquet"))
    return [read_table(storage, f"{folder}/{name}") for name in names]
