"""A keys file is decoded strictly, and no error message quotes a value that may be a key."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import ConfigError
from recsys.serving.key_file import KeyEntry, decode_keys, key_line
from recsys.serving.rate_limit import RateLimit

HASH = hashlib.sha256(b"some key").hexdigest()
OTHER = hashlib.sha256(b"another key").hexdigest()
SECRET = "recsys_" + hashlib.sha256(b"nobody has this key").hexdigest()[:43]  # the same for both test processes


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        decode_keys(text, "keys file k.yaml")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_entries_are_read_with_and_without_a_limit_in_yaml_and_in_json() -> None:
    entries = (
        KeyEntry(name="shop", sha256=HASH),
        KeyEntry(name="search-2", sha256=OTHER, rate_limit=RateLimit(requests_per_second=50, burst=100)),
    )
    yaml = f"""
# callers
- {{name: shop, sha256: "{HASH.upper()}"}}
- name: search-2
  sha256: '{OTHER}'
  rate_limit: {{requests_per_second: 50, burst: 100}}
"""
    assert decode_keys(yaml, "here") == entries
    limit = '{"requests_per_second": 50.0, "burst": 100}'
    json = f'[{{"name":"shop","sha256":"{HASH}"}},{{"name":"search-2","sha256":"{OTHER}","rate_limit":{limit}}}]'
    assert decode_keys(json, "here") == entries


def test_an_empty_list_withdraws_all_keys_and_a_blank_text_is_refused() -> None:
    assert decode_keys("[]", "here") == ()
    for text in ("", " \n", "# only a remark\n"):
        assert "keys file k.yaml: must be a YAML list of keys, got nothing" in refused(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {name: shop}", "entry 1 (shop): sha256: is required; must be the sha256 of the key, 64 hex digits"),
        (f'- {{sha256: "{HASH}"}}', "entry 1: name: is required; must be 1 to 40 letters"),
        (f'- {{name: "a b", sha256: "{HASH}"}}', "entry 1: name: must be 1 to 40 letters"),
        (f'- {{name: a, sha256: "{HASH}"}}\n- {{name: b, sha256: "{HASH[:63]}"}}', "entry 2 (b): sha256: must be the"),
        (f'- {{name: b, sha256: "{HASH}0"}}', "entry 1 (b): sha256: must be the sha256 of the key, 64 hex digits"),
        (f"- {{name: b, sha256: {'1' * 64}}}", "64 hex digits in quotes; make one with: recsys serve"),
        (
            f'- {{name: b, sha256: "{HASH}", rate: 5}}',
            "unknown field (not shown); known here: name, sha256, rate_limit",
        ),
        (f'- {{name: b, sha256: "{HASH}", rate_limit: 5}}', "rate_limit: must be a mapping of requests_per_second and"),
        (
            f'- {{name: b, sha256: "{HASH}", rate_limit: {{requests_per_second: 0}}}}',
            "entry 1 (b): rate_limit.requests_per_second: must be greater than or equal to 0.001, got 0",
        ),
        (
            f'- {{name: b, sha256: "{HASH}", rate_limit: {{requests_per_second: 1, bursts: 2}}}}',
            "(b): rate_limit: unknown field (not shown); known here: requests_per_second, burst",
        ),
        (f'- {{name: b, sha256: "{HASH}", rate_limit: {{burst: 2}}}}', "rate_limit.requests_per_second: is required"),
        ("- shop", "entry 1: must be a mapping of name, sha256, rate_limit"),
        ("shop: x", "must be a YAML list of keys, got dict"),
        (f'- {{name: a, sha256: "{HASH}"}}\n- {{name: a, sha256: "{OTHER}"}}', "the name a is there twice"),
        (f'- {{name: a, sha256: "{HASH}"}}\n- {{name: b, sha256: "{HASH}"}}', "a and b have the same key"),
        (f'- {{name: a, sha256: "{HASH}"}}\n- {{', "k.yaml, line 2: is not valid YAML"),
        ('- {name: a, sha256: !!int ""}', "k.yaml: is not valid YAML"),
        (f'- {{name: a, name: a, sha256: "{HASH}"}}', "k.yaml, line 1: is not valid YAML"),
    ],
)
def test_an_error_names_the_entry_and_the_solution(text: str, message: str) -> None:
    found = refused(text)
    assert found.startswith("keys file k.yaml")
    assert message in found


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"- {SECRET}",
        f"{SECRET}: x",
        f"- {{{SECRET}: x}}",
        f"- {{{SECRET}}}",
        f'- {{name: {SECRET}, sha256: "{HASH}"}}',
        f"- {{name: shop, sha256: {SECRET}}}",
        f'- {{name: shop, sha256: "{SECRET}"}}',
        f'- {{name: shop, sha256: "{HASH}", key: {SECRET}}}',
        f'- {{name: shop, sha256: "{HASH}", {SECRET}: 1}}',
        f'- {{name: shop, sha256: "{HASH}", rate_limit: {SECRET}}}',
        f'- {{name: shop, sha256: "{HASH}", rate_limit: {{requests_per_second: {SECRET}}}}}',
        f'- {{name: shop, sha256: "{HASH}", rate_limit: {{{SECRET}: 1}}}}',
        f"- {{name: shop, sha256: [{SECRET}",
        f"- {{sha256: {SECRET}, sha256: {SECRET}}}",
        f"- &{SECRET} a\n- *{SECRET}x",
        f"- !{SECRET} a",
        f"%{SECRET}\n- a",
    ],
)
def test_a_key_in_the_wrong_place_is_refused_and_never_shown(text: str) -> None:
    assert SECRET.removeprefix("recsys_") not in refused(text)


@given(
    st.one_of(
        st.text(),
        st.text(alphabet="-{}[]:,\"'&*!%|>#? \n\tnamesh0125.e~"),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(HASH),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["name", "sha256", "rate_limit", "burst", 1, None]), inner, max_size=3
                )
            ),
        ).map(str),
    )
)
def test_any_text_is_either_a_list_of_keys_or_a_config_error(text: str) -> None:
    try:
        entries = decode_keys(text, "here")
    except ConfigError as error:
        assert str(error).startswith("here")  # noqa: PT017 (either outcome is right)
    else:
        assert all(len(entry.sha256) == 64 for entry in entries)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", fullmatch=True))
def test_a_line_is_decoded_to_the_key_that_it_was_made_of(name: str) -> None:
    assert decode_keys(key_line(name, HASH) + "\n", "here") == (KeyEntry(name=name, sha256=HASH),)


@pytest.mark.parametrize("name", ["", "a b", "ä", "-a", "a\n", "a" * 41, SECRET])
def test_a_name_that_must_not_be_in_a_log_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="must be 1 to 40 letters"):
        key_line(name, HASH)
