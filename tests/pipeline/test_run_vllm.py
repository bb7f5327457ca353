"""The back end `vllm` up to the engine, which needs a GPU: its questions, its settings, and what becomes of answers."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import ray.data
import ray.data.llm

from recsys.enrichment.backends.vllm_engine import VllmSettings
from recsys.enrichment.request import request_for
from recsys.pipeline.enrichment.run_vllm import processor_config, write_on_engines
from recsys.pipeline.enrichment.text_store import read_texts, texts_of_run
from recsys.pipeline.enrichment.write_texts import TextWriter, enrich_config
from recsys.pipeline.run import Run

ANSWER = '{"summary": "A lamp", "keywords": ["desk"]}'


def test_the_engines_get_our_settings_and_run_no_code_of_the_model() -> None:
    config = processor_config(VllmSettings(model="some/model", tensor_parallel_size=2, num_engines=3))
    assert (config.model_source, config.concurrency, config.batch_size) == ("some/model", 3, 64)
    assert config.engine_kwargs["tensor_parallel_size"] == 2
    assert config.engine_kwargs["trust_remote_code"] is False
    assert config.should_continue_on_error


def engine(rows: list[dict[str, Any]], preprocess: Any, postprocess: Any) -> list[dict[str, Any]]:
    """What `ray.data.llm` does around an engine that fails for pans: such rows come back as they are."""
    out: list[dict[str, Any]] = []
    for row in rows:
        asked = preprocess(row)
        assert asked["sampling_params"] == {"temperature": 0.0, "max_tokens": 160}
        assert [message["role"] for message in asked["messages"]] == ["system", "user"]
        if "pan" in row["prompt"]:
            out.append({**asked, "messages": None, "__inference_error__": "OutOfMemory", "num_input_tokens": 0})
            continue
        answered = {**asked, "generated_text": ANSWER, "num_input_tokens": 30, "num_generated_tokens": 12}
        out.append(postprocess(answered) | {"__inference_error__": ""})
    return out


def test_answers_are_stored_and_failures_are_asked_for_again(
    make_night: Callable[..., Run], draw_events: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    night = make_night(draw_events(50, 30), settings={"enrich": {"backend": "vllm", "settings": {"model": "m"}}})
    items = enrich_config(night).items
    assert items is not None
    requests = [request_for({"text": text}, items) for text in ("oak lamp", "tin pan", "ash lamp")]

    def build(_: Any, preprocess: Any, postprocess: Any, builder_kwargs: Any) -> Any:
        def process(rows: list[dict[str, Any]]) -> Any:
            def batches(**_: Any) -> Iterator[pa.Table]:
                out = [*engine(rows, preprocess, postprocess), {"facts": None}]  # a row that was lost
                yield pa.Table.from_pylist([{name: None for row in out for name in row} | row for row in out])

            return SimpleNamespace(iter_batches=batches)

        return process

    monkeypatch.setattr(ray.data.llm, "build_processor", build)
    monkeypatch.setattr(ray.data, "from_items", lambda rows: rows)
    writer = TextWriter.of(night, items)
    write_on_engines(night, "enrich", writer, requests)
    writer_id, run_id = writer.id(enrich_config(night)), night.folder.run_id
    found = read_texts(night.storage, writer_id)
    assert {key: text.as_line for key, text in found.items()} == {
        request.key: "A lamp desk" for request in (requests[0], requests[2])
    }
    asked = texts_of_run(night.storage, writer_id, run_id)
    assert asked.errors == {requests[1].key: "the engine failed"}
    assert asked.written == found.keys()
    assert (asked.input_tokens, asked.output_tokens) == (60, 24)
