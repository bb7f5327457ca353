"""vLLM engines through `ray.data.llm`: the questions are a Ray Data set, and batches of answers are stored at once.

It was never run where this was written, since that needs vLLM and a GPU. Tests check questions, answers and settings.
"""

from collections.abc import Sequence
from typing import Any

from recsys.enrichment.backends.registry import backend_settings
from recsys.enrichment.backends.vllm_engine import VllmBackend, VllmSettings
from recsys.enrichment.request import TextReply, TextRequest, request_of
from recsys.pipeline.enrichment.write_texts import TextWriter, enrich_config, finish_texts
from recsys.pipeline.run import Run

#: What a row keeps through the engine.
_KEPT = ("facts",)


def write_on_engines(run: Run, label: str, writer: TextWriter, requests: Sequence[TextRequest]) -> None:  # noqa: ARG001
    """Have texts written by vLLM. Batches that were stored are not asked for again after an interruption."""
    import ray.data
    from ray.data.llm import build_processor  # it imports transformers

    config = enrich_config(run)
    settings = backend_settings(config)
    assert isinstance(settings, VllmSettings)
    processor = build_processor(
        processor_config(settings),
        preprocess=lambda row: question(row, config.max_output_tokens),
        postprocess=answer,
        builder_kwargs={"chat_template_kwargs": {"enable_thinking": False}},  # for templates that know it
    )
    rows = ray.data.from_items(
        [{"facts": each.data, "system": each.system, "prompt": each.prompt} for each in requests]
    )
    for batch in processor(rows).iter_batches(batch_size=VllmBackend.texts_per_part, batch_format="pyarrow"):
        table: Any = batch
        found = [row for row in table.to_pylist() if row.get("facts")]  # a lost row is asked for in the next night
        asked = [request_of(row["facts"], writer.spec) for row in found]
        finish_texts(run, writer, asked, [reply_of(row) for row in found])


def processor_config(settings: VllmSettings) -> Any:
    """The engines, as `ray.data.llm` takes them. A question that fails comes back with its error."""
    from ray.data.llm import vLLMEngineProcessorConfig

    return vLLMEngineProcessorConfig(
        model_source=settings.model,
        engine_kwargs={
            "tensor_parallel_size": settings.tensor_parallel_size,
            "max_model_len": settings.max_model_len,
            "enable_prefix_caching": True,  # all questions begin with the same words
            "trust_remote_code": False,
        },
        concurrency=settings.num_engines,
        batch_size=settings.batch_size,
        should_continue_on_error=True,
    )


def question(row: dict[str, Any], max_output_tokens: int) -> dict[str, Any]:
    """A row as the engine reads it."""
    return {
        **{name: row[name] for name in _KEPT},
        "messages": [{"role": "system", "content": row["system"]}, {"role": "user", "content": row["prompt"]}],
        "sampling_params": {"temperature": 0.0, "max_tokens": max_output_tokens},
    }


def answer(row: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a row that the engine has answered. Rows that failed do not come here: they stay as they are."""
    return {name: row[name] for name in (*_KEPT, "generated_text", "num_input_tokens", "num_generated_tokens")}


def reply_of(row: dict[str, Any]) -> TextReply:
    """The reply in a row that comes out of the engine."""
    return TextReply(
        text=row.get("generated_text") or "",
        error="the engine failed" if row.get("__inference_error__") else "",
        input_tokens=int(row.get("num_input_tokens") or 0),
        output_tokens=int(row.get("num_generated_tokens") or 0),
    )
