"""The back end `transformers` with a tiny model that was trained here to give one answer, and really generates."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from recsys.enrichment.backends.backend import WriterNeeds
from recsys.enrichment.backends.local_model import LocalModelBackend, LocalModelSettings
from recsys.enrichment.config import EnrichConfig, ItemTextsConfig
from recsys.enrichment.request import TextRequest, request_for
from recsys.enrichment.written_text import clean_reply
from recsys.errors import ConfigError

ANSWER = json.dumps({"summary": "Oak lamp", "keywords": ["desk"]})
SPEC = ItemTextsConfig(system="Sum up.", prompt="{facts}")
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<assistant>"
END = "</s>"


def byte_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = {sign: number for number, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab={**alphabet, END: len(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, model_max_length=256)


def requests(*texts: str) -> list[TextRequest]:
    return [request_for({"text": text}, SPEC) for text in texts]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers `ANSWER`, whatever the question is: 60 steps on four questions."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=None,
    )
    tiny = LlamaForCausalLM(config)
    asked = [f"<system>Sum up.<user>{request.data}<assistant>" for request in requests("Oak", "Pan", "Sofa bed", "Tin")]
    rows = [tokenizer(question + ANSWER + END)["input_ids"] for question in asked]
    width = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.eos_token_id] * (width - len(row)) for row in rows])
    answered = torch.arange(width) >= torch.tensor([[len(question)] for question in asked])
    labels = torch.where(answered, ids, -100)
    optimizer = torch.optim.AdamW(tiny.parameters(), lr=0.01)
    for _ in range(60):
        loss = tiny(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("tiny-llm")
    tiny.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def open_writer(folder: Path | str, **settings: Any) -> Any:
    needs: Any = WriterNeeds(max_output_tokens=len(ANSWER) + 4, max_keywords=5, encoder=lambda: None)  # type: ignore[arg-type,return-value]
    return LocalModelBackend().open(LocalModelSettings(model=str(folder), precision="fp32", **settings), needs)


def test_it_generates_by_the_chat_template_and_stops_at_the_end(model: Path) -> None:
    asked = requests("Oak", "Pan", "Sofa bed", "Tin")
    replies = open_writer(model, batch_size=3).write(asked)  # questions of different lengths, padded
    assert [reply.text for reply in replies] == [ANSWER] * 4
    question = f"<system>Sum up.<user>{asked[2].data}<assistant>"
    assert (replies[2].input_tokens, replies[2].output_tokens) == (len(question), len(ANSWER))
    text = clean_reply(asked[0], replies[0], EnrichConfig())
    assert (text.summary, text.keywords) == ("Oak lamp", ["desk"])
    assert open_writer(model, batch_size=1).write(asked)[2] == replies[2]


def test_a_question_that_is_too_long_gets_an_empty_answer(model: Path) -> None:
    replies = open_writer(model).write(requests("Oak", "x" * 300))
    assert [reply.text for reply in replies] == [ANSWER, ""]


def test_without_a_chat_template_the_question_is_plain_text(model: Path, tmp_path: Path) -> None:
    LlamaForCausalLM.from_pretrained(model).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    (reply,) = open_writer(tmp_path).write(requests("Oak"))
    assert reply.input_tokens == len('Sum up.\n\n{"text": "Oak"}\n\n')
    assert reply.output_tokens > 0


def test_a_chat_template_without_a_system_message_gets_its_words_with_the_question(model: Path, tmp_path: Path) -> None:
    LlamaForCausalLM.from_pretrained(model).save_pretrained(tmp_path)
    tokenizer = byte_tokenizer()
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    tokenizer.chat_template = refuses + TEMPLATE  # as Gemma's
    tokenizer.save_pretrained(tmp_path)
    (reply,) = open_writer(tmp_path).write(requests("Oak"))
    assert reply.input_tokens == len('<user>Sum up.\n\n{"text": "Oak"}<assistant>')


def test_what_is_no_causal_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match=r"enrich\.settings\.model"):
        open_writer(tmp_path)
    with pytest.raises(ConfigError, match=r"enrich\.settings\.model=/no/such: no such folder"):
        open_writer("/no/such")
