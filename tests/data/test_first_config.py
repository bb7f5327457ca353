"""The first config: YAML that decodes, whatever the files hold."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from recsys.data.catalog import item_version_spec
from recsys.data.config import TableInput
from recsys.data.guesses.column_guesses import Guess
from recsys.data.guesses.first_config import GuessedInput, first_config, guess_inputs
from recsys.data.guesses.input_sample import InputSample
from recsys.settings import Config, decode_config

NUM = 30


def sample(path: str, **cells: list[Any]) -> InputSample:
    return InputSample(source=TableInput(path=path, format="csv"), rows=pa.table(cells))


def decoded(text: str) -> Config:
    return decode_config(YAML(typ="safe", pure=True).load(text))


EVENTS = {
    "user": [f"u{row % 7}" for row in range(NUM)],
    "item": [f"i{row % 11}" for row in range(NUM)],
    "time": [f"2026-11-{1 + row % 28:02d}" for row in range(NUM)],
}


def test_events_items_and_users() -> None:
    inputs = guess_inputs(
        {
            "events": sample("orders.csv", **EVENTS, quantity=["1"] * NUM),
            "items": sample("items.csv", item=[f"i{row}" for row in range(11)], title=["Oak Lamp"] * 11),
            "users": sample("users.csv", user=[f"u{row}" for row in range(7)], age=["33"] * 7),
        }
    )
    text = first_config(inputs, "s3://bucket/night")
    config = decoded(text)
    assert config.storage == "s3://bucket/night"
    assert config.inputs.events.columns.model_dump(exclude_none=True) == {
        "user_id": "user",
        "item_id": "item",
        "timestamp": "time",
    }
    assert config.inputs.items.text == "{title}"
    assert config.inputs.users is not None
    assert config.inputs.users.text == "age {age}"
    assert '# weight: "quantity"' in text


def test_items_out_of_the_events_files_have_only_columns_that_belong_to_items() -> None:
    names = [f"Lamp {item}" for item in EVENTS["item"]]
    countries = ["Rome" if user < "u3" else "Oslo" for user in EVENTS["user"]]
    shared = sample("orders.csv", **EVENTS, description=names, country=countries)
    config = decoded(first_config(guess_inputs({"events": shared, "items": shared}), "x"))
    assert config.inputs.items.text == "{description}"
    assert config.inputs.items.columns.timestamp == "time"


def test_what_the_events_say_is_no_text_title_or_flag_of_the_items() -> None:
    """The names of customers stand before those of products in many exports."""
    cells = {
        "customer_name": [f"Ann {user}" for user in EVENTS["user"]],
        "product_name": [f"Lamp {item}" for item in EVENTS["item"]],
        "event_name": ["view", "purchase", "view"] * (NUM // 3),
        "is_active_user": ["yes" if user < "u3" else "no" for user in EVENTS["user"]],
        "country": ["France", "Spain"] * (NUM // 2),
    }
    shared = sample("orders.csv", **EVENTS, **cells)
    items = decoded(first_config(guess_inputs({"events": shared, "items": shared}), "x")).inputs.items
    assert (items.text, items.columns.title, items.columns.available) == ("{product_name}", "product_name", None)


def test_a_column_that_was_wrongly_taken_for_the_id_may_be_the_title() -> None:
    """Tills have `Item`, which is a name, and `SKU`."""
    cells = {"Item": [f"Oak Lamp {item}" for item in EVENTS["item"]], "SKU": [f"SKU {item}" for item in EVENTS["item"]]}
    shared = sample("sales.csv", user=EVENTS["user"], time=EVENTS["time"], **cells)

    def settle(name: str, guessed: GuessedInput) -> GuessedInput:
        said = {"item_id": Guess("SKU", "as you said")} if name == "events" else {}
        return replace(guessed, guesses=guessed.guesses | said)

    items = guess_inputs({"events": shared, "items": shared}, settle)["items"].guesses
    assert (items["item_id"].column, items["title"].column) == ("SKU", "Item")


def test_the_filter_in_the_comment_names_a_column_of_the_file() -> None:
    shared = sample("orders.csv", **EVENTS, **{"Lineitem quantity": ["1"] * NUM})
    text = first_config(guess_inputs({"events": shared, "items": shared}), "x")
    assert '# where: "\\"Lineitem quantity\\" > 0"' in text
    assert decoded(text.replace("# where", "where")).inputs.events.where == '"Lineitem quantity" > 0'


def test_columns_that_people_name_decide_which_texts_are_of_the_items() -> None:
    """Words that we do not know: `Kunde`, `Artikel`."""
    names = [f"Lamp {item}" for item in EVENTS["item"]]
    cities = ["Rome" if user < "u3" else "Oslo" for user in EVENTS["user"]]
    rows = {"Kunde": EVENTS["user"], "Artikel": EVENTS["item"], "Zeit": EVENTS["time"], "Stadt": cities, "Name": names}
    inputs = guess_inputs({"events": sample("orders.csv", **rows), "items": sample("orders.csv", **rows)})
    said = {"user_id": Guess("Kunde", "as you said"), "item_id": Guess("Artikel", "as you said")}
    for name, keys in (("events", ("user_id", "item_id")), ("items", ("item_id",))):
        own = {key: said[key] for key in keys}
        inputs[name] = replace(inputs[name], guesses=inputs[name].guesses | own)
    items = decoded(first_config(inputs, "x")).inputs.items
    assert items.text == "{Name}"
    assert (items.columns.item_id, items.columns.timestamp) == ("Artikel", "Zeit")


def test_the_template_has_fields_of_objects_and_no_column_that_it_cannot_name() -> None:
    """Yelp's businesses have `attributes.WiFi`, and Amazon's products `details.ASIN: `."""
    brands = ["Oak Ltd", "Elm Ltd"] * 15
    items = sample("items.csv", item=EVENTS["item"], **{"brand.name": brands, "details.By: ": brands, "a [b": brands})
    config = decoded(first_config(guess_inputs({"events": sample("orders.csv", **EVENTS), "items": items}), "x"))
    assert item_version_spec(config.inputs.items).values["inputs.items.text"] == ["brand.name"]


@pytest.mark.parametrize("odd", ["#", ": x", "'\"", "${HOME}", "a\nstorage: stolen", "\u2028b", "- [", "é\t"])
def test_no_name_and_no_value_breaks_the_config(odd: str) -> None:
    events = {
        f"user {odd}": EVENTS["user"],
        "item": EVENTS["item"],
        "time": EVENTS["time"],
    }
    items = {"item": EVENTS["item"][:11], "title": [f"Lamp {odd}"] * 11}
    inputs = guess_inputs({"events": sample(f"a {odd}.csv", **events), "items": sample("items.csv", **items)})
    config = decoded(first_config(inputs, f"x{odd}"))
    assert config.storage == f"x{odd}"
    assert config.inputs.events.path == f"a {odd}.csv"
    assert config.inputs.events.columns.user_id == f"user {odd}"
