import datetime as dt
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from recsys.config.renamed import RENAMED
from recsys.errors import ConfigError
from recsys.settings import Config, decode_config, load_config

INPUTS: dict[str, Any] = {"events": {"path": "events"}, "items": {"path": "items.parquet", "text": "{title}"}}
MINIMAL = 'inputs:\n  events: {path: events}\n  items: {path: items.parquet, text: "{title}"}\n'


def make(**sections: Any) -> Config:
    return decode_config({"inputs": INPUTS, **sections})


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def fault(**sections: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make(**sections)
    return str(caught.value)


def test_a_minimal_config_has_all_defaults(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, MINIMAL))
    assert config == make()
    assert (config.storage, config.seed, config.date) == ("./warehouse", 0, None)
    assert config.inputs.events.columns.user_id == "user_id"


def test_an_unknown_key_is_named_with_the_one_that_was_meant() -> None:
    assert fault(recommend={"topk": 5}) == "recommend.topk: unknown key; did you mean top_k?"
    assert "known here: path, format" in fault(inputs={**INPUTS, "events": {"path": "x", "zzz": 1}})
    assert fault(recomend={}).startswith("recomend: unknown key; did you mean recommend?")
    space = fault(inputs=INPUTS, tune={"space": {"train.epochs": {"low": 1, "hi": 2}}})
    assert ".hi: unknown key\n" in space, "within a mapping"


def weighing(weights: object) -> dict[str, Any]:
    return {"inputs": {**INPUTS, "event_weights": weights}}


def test_what_contradicts_each_other_is_refused() -> None:
    learning = {"encoder": {"train": "lora"}, "train": {"budget": "never"}}
    assert "train.budget=never trains nothing, and encoder.train=lora trains the encoder" in fault(
        inputs=INPUTS, **learning
    )
    items = {"items": INPUTS["items"]}
    assert "date=newest is the day of the newest event, and there is no inputs.events" in fault(
        inputs=items, date="newest"
    )
    assert decode_config({"inputs": items}).inputs.events is None


def test_kinds_of_events_may_be_numbers() -> None:
    assert make(**weighing({1: 3, "view": 0.5})).inputs.event_weights == {"1": 3.0, "view": 0.5}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"view": "much"}, "inputs.event_weights.view: must be a valid number, got 'much'"),
        ({"view": float("nan")}, "inputs.event_weights.view: must be a finite number, got nan"),
        ({"view": 1e7}, "inputs.event_weights.view: must be ≤ 1000000.0, got 10000000.0"),
        ({"view": -1e7}, "inputs.event_weights.view: must be ≥ -1000000.0, got -10000000.0"),
        ({" ": 1}, "inputs.event_weights: names a kind of event without letters"),
        (
            {"Add to cart": 1, "add_to_cart": 2},
            "inputs.event_weights: 'Add to cart' and 'add_to_cart' are the same kind",
        ),
        ({1: 1, "1": 2}, "inputs.event_weights: names a kind of event twice"),
        (["view"], "inputs.event_weights: must be a valid dictionary"),
    ],
)
def test_weights_of_kinds_that_cannot_be_meant(weights: object, message: str) -> None:
    assert message in fault(**weighing(weights))


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^inputs: is required$"):
        decode_config({})
    assert fault(inputs={"events": {"path": "x"}, "items": {"path": "y"}}) == "inputs.items.text: is required"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"recommend": {"top_k": 0}}, "recommend.top_k: must be ≥ 1, got 0"),
        ({"train": {"learning_rate": 0.0}}, "train.learning_rate: must be > 0.0, got 0.0"),
        ({"train": {"zero_stage": 4}}, "train.zero_stage: must be ≤ 3, got 4"),
        ({"train": {"max_events_per_user": 1}}, "train.max_events_per_user: must be ≥ 2, got 1"),
        ({"train": {"zero_stage": 3, "compile": "always"}}, "train: compile=always needs the whole weights"),
        ({"ranker": {"dropout": 1.0}}, "ranker.dropout: must be < 1.0, got 1.0"),
        ({"gate": {"metric": "auc"}}, "gate.metric: metric 'auc' is not known; choose one of ndcg@k, recall@k"),
        ({"train": {"precision": "int8"}}, "train.precision: must be 'auto', 'fp32', 'bf16' or 'fp16', got 'int8'"),
        ({"serve": {"port": 70_000}}, "serve.port: must be ≤ 65535, got 70000"),
        ({"seed": -1}, "seed: must be ≥ 0, got -1"),
        (
            {"inputs": INPUTS | {"events": {"path": "x", "columns": {"user_id": ""}}}},
            "inputs.events.columns.user_id: must have at least 1 character, got ''",
        ),
        *(
            (
                {"inputs": INPUTS | {"events": {"path": "x", "delimiter": delimiter}}},
                f"inputs.events.delimiter: must be one ASCII character, and no quote or line end, got {delimiter!r}; a "
                'tab is "\\t", in double quotes',
            )
            for delimiter in ("::", r"\t", "", "¦", '"', "\n", "\0")
        ),
    ],
)
def test_a_value_out_of_range_names_its_path_its_bound_and_itself(sections: dict[str, Any], message: str) -> None:
    assert fault(**sections).startswith(message)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("text", "{title", "'{title': expected '}' before end of string; write {{ and }} for braces"),
        ("text", "title", "'title': names no column; write one like {title}"),
        ("encoding", "utf-88", "encoding 'utf-88' is unknown; use a name such as utf-8 or latin-1"),
        ("encoding", "rot13", "encoding 'rot13' is unknown"),
        ("timezone", "Berlin", "timezone 'Berlin' is unknown; did you mean Europe/Berlin?"),
    ],
)
def test_how_an_input_is_read_is_checked_before_anything_starts(key: str, value: str, message: str) -> None:
    items = {"path": "items.csv", "text": "{title}"} | {key: value}
    assert fault(inputs=INPUTS | {"items": items}).startswith(f"inputs.items.{key}: {message}")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"recommend": {"top_k": "20"}}, "recommend.top_k: must be a valid integer, got '20'"),
        ({"recommend": {"top_k": 2.5}}, "recommend.top_k: must be a valid integer, got 2.5"),
        (
            {"inputs": INPUTS | {"items": {"path": "y", "text": {"title": None}}}},
            "inputs.items.text: must be a text, got a mapping of keys; in YAML a text that begins with { needs quotes",
        ),
        ({"train": {"use_gpu": "yes"}}, "train.use_gpu: must be a valid boolean, got 'yes'"),
        ({"train": {"use_gpu": 1}}, "train.use_gpu: must be a valid boolean, got 1"),
        ({"storage": 7}, "storage: must be a valid string, got 7"),
        ({"date": "22.11.2026"}, "date: must be a date like 2026-11-22, or today, yesterday, newest, got '22.11.2026'"),
        ({"date": dt.datetime(2026, 11, 22, 8, tzinfo=dt.UTC)}, "date: must be a date like 2026-11-22"),
    ],
)
def test_a_wrong_type_is_never_converted(sections: dict[str, Any], message: str) -> None:
    assert fault(**sections).startswith(message)


def test_a_section_that_is_a_value_is_refused() -> None:
    assert fault(train=3).startswith("train: ")
    assert fault(train=None).startswith("train: ")


def test_numbers_that_are_no_numbers_are_refused() -> None:
    assert fault(train={"learning_rate": float("nan")}).startswith("train.learning_rate: ")
    assert fault(train={"learning_rate": float("inf")}).startswith("train.learning_rate: ")


def test_every_fault_is_named_at_once() -> None:
    assert len(fault(recommend={"top_k": 0}, seed=-1).splitlines()) == 2


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"recommend": {"top_k": 20, "candidates": 10}}, "recommend: candidates=10 must be at least top_k=20"),
        ({"ranker": {"hidden_size": 100, "heads": 3}}, "ranker: hidden_size=100 must be a multiple of 2 × heads=3"),
        ({"encoder": {"scratch": {"hidden_size": 10, "heads": 3}}}, "encoder.scratch: heads=3 must divide"),
        ({"encoder": {"revision": "main"}}, "encoder: revision=main belongs to a hub model"),
        (
            {"encoder": {"model": "compressed://x-1", "adapt": {"steps": 9}}},
            "encoder: adapt.steps=9 is for the encoder",
        ),
        (
            {"encoder": {"quantization": "int8_weights", "adapt": {"steps": 9}}},
            "encoder: quantization=int8_weights is for a model as it was downloaded",
        ),
        ({"train": {"batch_size": 10, "num_workers": 3}}, "train.batch_size=10 must be a multiple of"),
        ({"encoder": {"train": "full"}, "ranker": {"parts": "ids"}}, "encoder.train=full has nothing to learn from"),
        ({"serve": {"host": "0.0.0.0"}}, "serve: host=0.0.0.0 is reachable from outside: set keys_file"),  # noqa: S104
    ],
)
def test_settings_that_contradict_each_other(sections: dict[str, Any], message: str) -> None:
    assert fault(**sections).startswith(message)


@pytest.mark.parametrize(
    ("encoder", "learns", "rate"),
    [
        ({}, False, 2e-5),
        ({"train": "full"}, True, 2e-5),
        ({"train": "lora"}, True, 2e-4),
        ({"train": "lora", "learning_rate": 3e-5}, True, 3e-5),
    ],
)
def test_the_encoders_learning_rate_is_the_given_one_or_that_of_its_way(
    encoder: dict[str, Any], learns: bool, rate: float
) -> None:
    config = make(encoder=encoder).encoder
    assert (config.learns, config.peak_learning_rate) == (learns, rate)


def test_a_public_host_is_fine_with_keys() -> None:
    assert make(serve={"host": "0.0.0.0", "keys_file": "keys.json"}).serve.port == 8000  # noqa: S104


def test_set_overrides_one_key_with_a_yaml_value(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "recommend: {candidates: 300}\n")
    config = load_config(path, ["recommend.top_k=7", "train.use_gpu=true", "inputs.events.where=x > 1 and y = ''"])
    assert (config.recommend.top_k, config.recommend.candidates, config.train.use_gpu) == (7, 300, True)
    assert config.inputs.events.where == "x > 1 and y = ''", "only the first = divides key and value"
    assert load_config(path, ["storage=s3://b/p", "date=2026-01-02"]).date == dt.date(2026, 1, 2)
    assert load_config(path, ["encoder.model=null"]).encoder.model is None


def test_of_two_overrides_the_later_wins_and_the_date_argument_wins_over_all(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "date: 2026-01-01\n")
    assert load_config(path, ["seed=1", "seed=2"]).seed == 2
    assert load_config(path, ["date=2026-01-02"], date="2026-01-03").date == dt.date(2026, 1, 3)
    with pytest.raises(ConfigError, match="date: must be a date like"):
        load_config(path, date="tomorrow")
    for far in ("9999-12-31", "0001-01-01"):
        with pytest.raises(ConfigError, match=f"date: must be from 1970-01-01 to 9998-12-31, got {far}"):
            load_config(path, date=far)


def test_an_override_switches_an_optional_section_on(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "lm: null\n")
    found = load_config(path, ["lm.model=some/model"]).lm
    assert found is not None
    assert found.model == "some/model"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recommend.top_k", "must look like recommend.top_k=20"),
        ("=20", "must look like recommend.top_k=20"),
        ("recommend.topk=20", "did you mean top_k"),
        ("storage.path=x", "storage is a value, not a section"),
        ("recommend.top_k=[1", "is not valid YAML"),
        ("inputs.events.decimal=,", "A text with such signs needs quotes: --set 'inputs.events.decimal=\",\"'"),
        ("inputs.events.timestamp_format=%Y%m%d", "needs quotes: --set 'inputs.events.timestamp_format=\"%Y%m%d\"'"),
        ("recommend.top_k=many", "must be a valid integer, got 'many'"),
    ],
)
def test_a_wrong_override_says_so(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        load_config(written(tmp_path, MINIMAL + "storage: ./w\n"), [override])


def test_environment_variables_stand_inside_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", "alpha")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert make(storage="s3://${SHOP}/${SHOP}-x").storage == "s3://alpha/alpha-x"
    assert make(storage="${NOWHERE:-./here}/w").storage == "./here/w"
    assert make(storage="${SHOP:-./here}").storage == "alpha"
    assert make(storage="$SHOP {SHOP}").storage == "$SHOP {SHOP}", "only the full form is a variable"


def test_a_dollar_sign_before_a_brace_is_written_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("price", raising=False)
    items = {"path": "x", "text": "Price: $${price}, $${sale price}, ${sale price}, $$ and $5"}
    config = make(inputs={**INPUTS, "items": items})
    assert config.inputs.items.text == "Price: ${price}, ${sale price}, ${sale price}, $$ and $5"
    assert decode_config(YAML(typ="safe", pure=True).load(config.to_yaml())) == config, "a stored run is read again"
    message = fault(inputs={**INPUTS, "items": {"path": "x", "text": "Price: ${price}"}})
    assert message.endswith("for a dollar sign before {price} write $${price}")


def test_an_empty_variable_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", "")
    assert make(storage="${SHOP:-./here}").storage == "./here"
    assert fault(storage="${SHOP}").startswith(
        "storage: environment variable SHOP is not set; set it or write ${SHOP:-"
    )


def test_a_missing_variable_names_the_key_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    events = {"path": "${NOWHERE}/events"}
    assert fault(inputs={**INPUTS, "events": events}).startswith("inputs.events.path: environment variable NOWHERE")


def test_variables_work_in_overrides_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", "alpha")
    assert load_config(written(tmp_path, MINIMAL), ["storage=./${SHOP}"]).storage == "./alpha"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2\n", "duplicate key"),
        ("seed: [1\n", "is not valid YAML"),
        ("seed: &name [*name]\n", "contains itself"),
        ("- a\n- b\n", "must be a mapping of keys, got list"),
        ("", "must be a mapping of keys, got NoneType"),
        ("seed: !!python/object/apply:os.system ['true']\n", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_config_names_itself(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_names_itself(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml: cannot be read"):
        load_config(tmp_path / "nothing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"storage: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml: cannot be read"):
        load_config(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    "sections",
    [
        {"storage": "elsewhere"},
        {"recommend": {"num_workers": 8}},
        {"encoder": {"num_workers": 8}},
        {"train": {"max_failures": 9}},
        {"serve": {"port": 9000}},
    ],
)
def test_the_digest_ignores_what_only_says_how_a_night_runs(sections: dict[str, Any]) -> None:
    assert make(**sections).digest() == make().digest()


@pytest.mark.parametrize(
    "sections",
    [
        {"seed": 1},
        {"inputs": {**INPUTS, "events": {"path": "events", "where": "a > 1"}}},
        {"histories": {"shards": 4}},
        {"encoder": {"model": "x"}},
        {"ranker": {"layers": 3}},
        {"train": {"epochs": 3}},
        {"recommend": {"top_k": 3}},
        {"gate": {"holdout_days": 3}},
    ],
)
def test_the_digest_changes_with_what_can_change_a_list(sections: dict[str, Any]) -> None:
    assert make(**sections).digest() != make().digest()


def test_the_digest_is_the_same_in_every_process_and_order_of_keys(tmp_path: Path) -> None:
    weights = {"view": 1.0, "purchase": 3.0, "click": 2.0}
    config = make(inputs=INPUTS | {"event_weights": weights}, recommend={"top_k": 5, "candidates": 50})
    backwards = make(
        recommend={"candidates": 50, "top_k": 5}, inputs=INPUTS | {"event_weights": dict(reversed(weights.items()))}
    )
    assert backwards.digest() == config.digest()
    path = written(tmp_path, config.to_yaml())
    code = "import sys; from recsys.settings import load_config; print(load_config(sys.argv[1]).digest())"
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        found = subprocess.run(
            [sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == config.digest()


letters = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zl", "Zp"])
pieces = st.text(letters, min_size=1) | st.sampled_from(["$", "$${", "{", "}", "price"])
texts = st.lists(pieces, min_size=1).map("".join).filter(lambda text: "${" not in text.replace("$${", ""))


@given(
    path=texts,
    where=st.sampled_from([None, "a > 1", '"ä b" is null']),
    date=st.none() | st.dates(dt.date(1970, 1, 1), dt.date(9998, 12, 31)),
    rate=st.floats(1e-9, 1.0),
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=25)
def test_the_resolved_config_read_again_is_the_same(
    path: str, where: str | None, date: dt.date | None, rate: float, seed: int
) -> None:
    inputs = {**INPUTS, "events": {"path": path, "where": where}}
    config = make(inputs=inputs, date=date, seed=seed, train={"learning_rate": rate})
    again = decode_config(YAML(typ="safe", pure=True).load(config.to_yaml()))
    assert again == config
    assert again.digest() == config.digest()


@given(key=st.text(min_size=1), value=st.none() | st.integers() | st.text())
def test_no_unknown_key_is_ever_accepted(key: str, value: object) -> None:
    if key not in Config.model_fields and key not in RENAMED:
        assert f"{key}: unknown key" in fault(**{key: value})


@given(top_k=st.integers(), candidates=st.integers())
def test_an_accepted_list_length_is_always_possible(top_k: int, candidates: int) -> None:
    try:
        recommend = make(recommend={"top_k": top_k, "candidates": candidates}).recommend
    except ConfigError:
        assert top_k < 1 or candidates < top_k or top_k > 10_000 or candidates > 100_000
    else:
        assert 1 <= recommend.top_k <= recommend.candidates
