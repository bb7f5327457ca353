"""Stored records have a version, and older ones are upgraded."""

import pytest

from recsys.errors import NewerFormatError
from recsys.storage.record_kinds import FUSION, MODEL_CARD, STORED_CONFIG, RecordKind

KIND = RecordKind("note", (lambda note: {"b": note["a"]}, lambda note: {"c": note["b"] + 1}))


def test_a_record_of_each_version_has_the_form_of_this_release() -> None:
    assert KIND.version == 3
    assert KIND.stamp({"c": 2}) == {"c": 2, "format_version": 3}
    for stored in ({"a": 1}, {"a": 1, "format_version": 1}, {"b": 1, "format_version": 2}, KIND.stamp({"c": 2})):
        assert KIND.current(stored, "note.json") == {"c": 2}


def test_a_newer_version_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        NewerFormatError, match=r"^/w/note\.json: this note has format version 4, .* versions up to 3"
    ) as caught:
        KIND.current({"d": 0, "format_version": 4}, "/w/note.json")
    assert caught.value.exit_code == 2
    assert "install that release or a later one" in str(caught.value)


@pytest.mark.parametrize("stored", [{"format_version": wrong} for wrong in (0, -1, "2", 1.0, True, None)] + [{"x": 1}])
def test_a_damaged_version_or_form_is_a_fault(stored: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"format_version is|does not have the form of version 1"):
        KIND.current(stored, "note.json")


def test_names_of_older_releases() -> None:
    assert MODEL_CARD.current({"isolated": True, "model_id": "m"}, "") == {"candidate_pass": True, "model_id": "m"}
    assert FUSION.current({"weights": {"isolated": 1.0}, "short": {"linear_recent": 2.0}, "usual": 3}, "") == {
        "weights": {"candidate_pass": 1.0},
        "short": {"ease_decayed": 2.0},
        "typical_length": 3,
        "session": None,
        "parts": None,
    }
    config = {"recommend": {"signals": ["isolated", "popularity"], "top_k": 5}}
    assert STORED_CONFIG.current(config, "") == {"recommend": {"signals": ["candidate_pass", "popularity"], "top_k": 5}}
    for config in ({}, {"recommend": None}, {"recommend": {"signals": None}}):
        assert STORED_CONFIG.current(config, "") == config
