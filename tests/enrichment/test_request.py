"""One item, one question: an item's words reach no other item's question."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.enrichment.budget import Budget
from recsys.enrichment.config import ItemTextsConfig, UserTextsConfig
from recsys.enrichment.request import prompt_hash, request_for, request_of
from recsys.errors import ConfigError
from recsys.settings import decode_config

SPEC = ItemTextsConfig(system="s", prompt="p {facts}")
INPUTS = {"events": {"path": "events"}, "items": {"path": "items", "text": "{title}"}}


def test_the_key_depends_on_the_facts_alone_and_empty_facts_are_left_out() -> None:
    request = request_for({"text": "Oak lamp", "reviews": [], "note": ""}, SPEC)
    assert request.prompt == 'p {"text": "Oak lamp"}'
    assert request_of(request.data, UserTextsConfig()).key == request.key
    assert request_for({"text": "Oak lamps"}, SPEC).key != request.key
    assert prompt_hash(SPEC) != prompt_hash(ItemTextsConfig(system="s", prompt="q {facts}"))


@given(st.text())
def test_facts_stay_one_json_text_whatever_they_say(text: str) -> None:
    request = request_for({"text": text + "{facts}"}, SPEC)
    assert request.facts == {"text": text + "{facts}"}
    assert request.prompt == "p " + request.data
    assert "\n" not in request.data


def test_a_budget_counts_each_question_with_the_most_it_can_take() -> None:
    requests = [request_for({"text": str(number)}, SPEC) for number in range(10)]
    most = requests[0].most_input_tokens + 16
    budget = Budget(tokens=3 * most, cost=None)
    assert budget.affordable(requests, 16) == 3
    assert budget.less(most, 1).affordable(requests, 16) == 1
    assert Budget(tokens=None, cost=None).affordable(requests, 16) == 10
    priced = Budget(tokens=None, cost=2.5 * 16 / 1e6, price_output=1.0)
    assert priced.affordable(requests, 16) == 2
    assert priced.less(1_000_000, 16).affordable(requests, 16) == 1


@pytest.mark.parametrize(
    ("enrich", "message"),
    [
        ({"backend": "gpt"}, "enrich.backend: must be one of keywords, transformers, vllm, openai, got 'gpt'"),
        ({"backend": "openai"}, "enrich.settings.model: is required"),
        ({"settings": {"divers": 1}}, "enrich.settings.divers: unknown key"),
        ({"checks": ["polite"]}, "enrich.checks: must be one of none, got 'polite'"),
        ({"items": {"prompt": "Describe it"}}, "must hold {facts} once"),
        ({"items": {"text": "{text} {brand}"}}, "enrich.items.text: may name text, summary, keywords, got {brand}"),
        ({"items": {"text": "{text"}}, "expected '}' before end of string"),
        ({"max_cost": 1.0}, "max_cost needs price_input and price_output"),
        ({"backend": "openai", "settings": {"model": "m", "base_url": "http://k:secret@h/v1"}}, "must be an address"),
    ],
)
def test_a_wrong_section_is_refused(enrich: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode_config({"inputs": INPUTS, "enrich": enrich})
    assert message in str(caught.value)


def test_without_the_section_a_night_keeps_its_name() -> None:
    plain, off = decode_config({"inputs": INPUTS}), decode_config({"inputs": INPUTS, "enrich": None})
    assert plain.digest() == off.digest()
    assert decode_config({"inputs": INPUTS, "enrich": {}}).digest() != plain.digest()
