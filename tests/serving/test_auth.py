"""Only valid keys are admitted, and a changed keys file replaces all keys or none."""

import dataclasses
import hashlib
import logging
import os
import threading
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recsys.errors import ConfigError
from recsys.serving.auth import ANYONE, Caller, Keys, new_key


@dataclasses.dataclass
class Clock:
    """A clock that the test sets."""

    now_s: float = 50.0

    def __call__(self) -> float:
        return self.now_s


MADE = {name: new_key(name) for name in "abcdef"}


def key(name: str) -> str:
    return MADE[name][0]


def lines(names: str) -> str:
    return "\n".join(MADE[name][1] for name in names) or "[]"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    path.write_text(lines("ab"), encoding="utf-8")
    return path


def replace(path: Path, text: str) -> None:
    """Replace a file in one step, as an operator should."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def test_a_new_key_is_valid_and_its_line_has_only_the_hash() -> None:
    one, line = new_key("shop")
    assert line.startswith('- {"name": "shop"')
    assert one not in line
    assert hashlib.sha256(one.encode()).hexdigest() in line
    assert len(one) >= 43
    assert Keys.load(None, {"RECSYS_KEYS": line}).caller_of(one) == "shop"
    assert new_key("shop")[0] != one
    with pytest.raises(ConfigError, match="name of a key"):
        new_key("a shop")


KEYS = Keys.load(None, {"RECSYS_KEYS": lines("abcdef")})


@example("\ud800")
@given(st.one_of(st.none(), st.text(), st.from_regex(r"recsys_[A-Za-z0-9_-]{43}", fullmatch=True)))
def test_no_other_text_is_a_key(token: str | None) -> None:
    assert KEYS.caller_of(token) is None
    assert KEYS.admit(token) == Caller(None)


@given(st.sampled_from(sorted(MADE)), st.data())
def test_every_key_names_its_caller_and_no_similar_text_does(name: str, data: st.DataObject) -> None:
    one = key(name)
    assert KEYS.caller_of(one) == name
    place = data.draw(st.integers(0, len(one) - 1))
    letter = data.draw(st.characters().filter(lambda letter: letter != one[place]))
    wrong = [one[:place] + letter + one[place + 1 :], one[:place], one + letter, one.swapcase(), f" {one}"]
    wrong.append(hashlib.sha256(one.encode()).hexdigest())
    assert {KEYS.caller_of(text) for text in wrong} == {None}


def test_without_a_file_and_a_variable_callers_need_no_key() -> None:
    keys = Keys.load(None, {})
    assert not keys.are_needed
    assert keys.admit(None) == keys.admit("anything") == Caller(ANYONE)
    assert not keys.refresh()


def test_the_file_and_the_variable_are_joined_and_must_not_contradict(file: Path) -> None:
    keys = Keys.load(str(file), {"RECSYS_KEYS": lines("c")})
    assert keys.are_needed
    assert sorted(keys.names) == ["a", "b", "c"]
    assert [keys.caller_of(key(name)) for name in "abcd"] == ["a", "b", "c", None]
    with pytest.raises(ConfigError, match=r"keys\.yaml: the name b is there twice"):
        Keys.load(file, {"RECSYS_KEYS": lines("b")})


def test_the_file_may_come_later_where_the_variable_is_set(file: Path) -> None:
    file.unlink()
    with pytest.raises(
        ConfigError, match=r"keys\.yaml: cannot be read: No such file .* recsys serve --config CONFIG --new-key NAME"
    ):
        Keys.load(file, {})
    keys = Keys.load(file, {"RECSYS_KEYS": lines("c")})
    assert not keys.refresh()
    assert (keys.names, keys.error) == (("c",), None)
    file.write_text(lines("a"), encoding="utf-8")
    assert keys.refresh()
    assert sorted(keys.names) == ["a", "c"]
    file.unlink()
    assert not keys.refresh()
    assert sorted(keys.names) == ["a", "c"]
    assert "cannot be read" in (keys.error or "")
    file.write_text(lines("a"), encoding="utf-8")
    assert keys.refresh()
    assert keys.error is None


def test_a_blank_variable_or_file_is_refused_and_an_empty_list_lets_nobody_in(file: Path) -> None:
    with pytest.raises(ConfigError, match="RECSYS_KEYS: must be a YAML list of keys, got nothing"):
        Keys.load(None, {"RECSYS_KEYS": ""})
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"keys\.yaml: is not UTF-8"):
        Keys.load(file, {})
    file.write_text("[]", encoding="utf-8")
    keys = Keys.load(file, {})
    assert keys.are_needed
    assert keys.admit(key("a")) == keys.admit(None) == Caller(None)


def test_a_change_is_seen_after_one_second_and_not_sooner(file: Path) -> None:
    clock = Clock()
    keys = Keys.load(file, {}, clock)
    replace(file, lines("ac"))
    clock.now_s += 0.99
    assert [keys.admit(key(name)).name for name in "abc"] == ["a", "b", None]
    clock.now_s += 0.01
    assert [keys.admit(key(name)).name for name in "abc"] == ["a", None, "c"]


def test_a_change_is_seen_also_with_equal_time_size_and_inode(file: Path) -> None:
    keys = Keys.load(file, {})
    before = file.stat()
    file.write_text(lines("cd"), encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert [after.st_mtime_ns, after.st_size, after.st_ino] == [before.st_mtime_ns, before.st_size, before.st_ino]
    assert keys.refresh()
    assert keys.names == ("c", "d")


GOOD = st.sets(st.sampled_from(sorted(MADE))).map(sorted).map("".join)
BROKEN = st.sampled_from(["", "- {", "a: b", "- {name: a}", f"- {key('a')}", lines("aa"), lines("a") + "\n- {name: x}"])


@settings(max_examples=25)
@given(st.lists(st.tuples(st.just(True), GOOD) | st.tuples(st.just(False), BROKEN), max_size=6))
def test_after_each_change_the_keys_are_those_of_the_last_good_file(
    tmp_path_factory: pytest.TempPathFactory, contents: list[tuple[bool, str]]
) -> None:
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    file.write_text(lines("ab"), encoding="utf-8")
    keys = Keys.load(file, {})
    valid = "ab"
    for good, content in contents:
        replace(file, lines(content) if good else content)
        keys.refresh()
        valid = content if good else valid
        assert "".join(keys.names) == valid
        assert {name for name in MADE if keys.caller_of(key(name)) == name} == set(valid)
        assert (keys.error is None) == good
        assert not keys.refresh()


def test_a_probe_that_counts_no_request_sees_the_newest_file(file: Path) -> None:
    clock = Clock()
    keys = Keys.load(file, {}, clock)
    replace(file, lines("c"))
    clock.now_s += 1
    assert (keys.caller_of(key("a")), keys.caller_of(key("c"))) == (None, "c")
    replace(file, "- {name: c")
    clock.now_s += 1
    assert keys.caller_of(key("c")) == "c"
    assert keys.error is not None


def test_a_broken_file_is_logged_once_without_its_content(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.DEBUG):
        keys = Keys.load(file, {}, clock)
        replace(file, f"- {{name: a, sha256: {key('a')}}}")
        for _ in range(3):
            clock.now_s += 1
            assert keys.admit(key("b")) == Caller("b")
            keys.admit(key("c"))
        assert keys.error is not None
        assert keys.error.startswith(f"keys file {file}: entry 1 (a): sha256: must be")
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        replace(file, lines("c"))
        assert keys.refresh()
        assert keys.error is None
        file.unlink()
        assert not keys.refresh()
        assert not keys.refresh()
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
    for name in MADE:
        assert key(name) not in caplog.text + repr(vars(keys))
        assert hashlib.sha256(key(name).encode()).hexdigest() not in caplog.text


def test_readers_see_the_old_keys_or_the_new_keys_and_never_a_mixture(file: Path) -> None:
    keys = Keys.load(file, {})
    seen: set[tuple[str, ...]] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            keys.refresh()
            seen.add(keys.names)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        replace(file, lines("cdef"))
        replace(file, lines("ab"))
    done.set()
    for thread in threads:
        thread.join()
    assert seen <= {("a", "b"), ("c", "d", "e", "f")}
    keys.refresh()
    assert keys.names == ("a", "b")


def test_a_caller_above_its_limit_is_named_and_must_wait(file: Path) -> None:
    clock = Clock()
    limited = MADE["a"][1].replace("}", ', "rate_limit": {"requests_per_second": 0.5, "burst": 2}}')
    file.write_text(f"{limited}\n{lines('b')}\n", encoding="utf-8")
    keys = Keys.load(file, {}, clock)
    assert [keys.admit(key("a")) for _ in range(3)] == [Caller("a"), Caller("a"), Caller("a", 2.0)]
    assert {keys.admit(key("b")) for _ in range(20)} == {Caller("b")}
    replace(file, f"{limited}\n{lines('cb')}\n")
    assert keys.refresh()
    assert keys.admit(key("a")) == Caller("a", 2.0)
    clock.now_s += 2
    assert keys.admit(key("a")) == Caller("a")
