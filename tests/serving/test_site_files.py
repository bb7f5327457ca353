"""The live service gives out the pages of the nights, and no other file of the storage."""

import base64
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recsys.serving.auth import key_in
from recsys.serving.site_files import read_site_file
from recsys.storage.filesystem import Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    made = Storage(str(tmp_path))
    for name in ("index.html", "style.css", "nights/2026-11-22-abc.html", "summaries/2026-11-22-abc.json"):
        made.write_bytes(f"site/{name}", name.encode())
    made.write_bytes("runs/x.html", b"secret")
    return made


def test_pages_and_their_looks_are_given_out(storage: Storage) -> None:
    assert read_site_file(storage, "") == (b"index.html", "text/html")
    assert read_site_file(storage, "style.css") == (b"style.css", "text/css")
    assert read_site_file(storage, "nights/2026-11-22-abc.html") == (b"nights/2026-11-22-abc.html", "text/html")


@pytest.mark.parametrize(
    "name",
    [
        "summaries/2026-11-22-abc.json",
        "../runs/x.html",
        "nights/../../runs/x.html",
        "nights/..html",
        "nights",
        "/",
        "x",
    ],
)
def test_nothing_else_is_given_out(storage: Storage, name: str) -> None:
    assert read_site_file(storage, name) is None


@given(st.text())
@example("Basic é")
def test_any_header_is_read(header: str) -> None:
    key_in(header)


@given(st.text(st.characters(codec="utf-8", exclude_characters=":")), st.text(st.characters(codec="utf-8"), min_size=1))
def test_the_password_is_the_key(name: str, key: str) -> None:
    assert key_in("Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()) == key
