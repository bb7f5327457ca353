"""What a model answers is data: whatever it says, a clean short line comes out, or nothing."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.enrichment.config import EnrichConfig, ItemTextsConfig, UserTextsConfig
from recsys.enrichment.request import TextReply, request_for
from recsys.enrichment.written_text import (
    Refusal,
    WrittenText,
    clean_reply,
    plain_line,
    read_reply,
    without_blocked,
)

CONFIG = EnrichConfig()
#: Pieces from which hostile answers are put together.
HOSTILE = st.lists(
    st.sampled_from(
        [
            *("<script>", "</script>", "<b onclick='x()'>", "&lt;", "&amp;lt;", "<!--", "-->", "<scr<b>ipt>"),
            *("[x](", "http://a.b/c", ")", "javascript:", "jav\u200bascript:", "ht{tp://"),
            *("{{", "}}", "`", "**", "\n# ", "\n- ", "|", '"', "\\", "lamp", " "),
            *("\u202e", "\x00", "\ud800", "\u200b", "\ufb01", "e\u0301"),
        ]
    )
    | st.text(max_size=20),
    max_size=30,
).map("".join)


@given(HOSTILE | st.text(max_size=2000), st.integers(20, 300))
def test_a_line_is_short_plain_and_harmless(text: str, most: int) -> None:
    line = plain_line(text, most)
    assert len(line) <= most
    assert line == " ".join(line.split())
    assert not any(unicodedata.category(sign)[0] == "C" for sign in line)
    assert not set(line) & set("<>{}`*|")
    assert unicodedata.is_normalized("NFC", line)
    assert "javascript:" not in line.lower()
    assert "://" not in line or not any(scheme in line.lower() for scheme in ("http://", "https://"))


@given(st.lists(st.from_regex(r"[A-Za-zäß0-9]{1,12}", fullmatch=True), min_size=1, max_size=20).map(" ".join))
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert plain_line(text, 400) == text


@given(HOSTILE | st.text(max_size=2000) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_any_answer_is_used_or_refused(text: str) -> None:
    found = clean_reply(request_for({"text": "Oak lamp"}, ItemTextsConfig()), TextReply(text=text), CONFIG)
    assert bool(found.refused) != bool(found.as_line)
    assert len(found.summary) <= CONFIG.max_summary_chars
    assert len(found.keywords) <= CONFIG.max_keywords
    assert all(0 < len(keyword) <= CONFIG.max_keyword_chars for keyword in found.keywords)


@given(HOSTILE, st.lists(HOSTILE, max_size=12))
def test_hostile_words_in_a_good_form_are_cleaned(summary: str, keywords: list[str]) -> None:
    answer = json.dumps({"summary": summary, "keywords": keywords, "item_id": "i0001", "score": 9})
    found = clean_reply(request_for({"text": "Oak lamp"}, ItemTextsConfig()), TextReply(text=answer), CONFIG)
    assert not set(found.as_line) & set("<>{}`|")
    assert found.summary == plain_line(found.summary, CONFIG.max_summary_chars)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"summary": "A lamp.", "keywords": ["oak", "desk"]}', ("A lamp.", ["oak", "desk"])),
        ('Sure!\n```json\n{"summary": "A lamp.", "keywords": "oak, desk"}\n```', ("A lamp.", ["oak", " desk"])),
        ('{"summary": 7, "keywords": ["oak", 3, null]}', ("", ["oak"])),
        ('{"summary": "", "keywords": []}', None),
        ('<think>{"a"}</think> {"text": "Oak"} {"summary": "A lamp."}', ("A lamp.", [])),
        ('["summary"]', None),
        ("A lamp of oak.", None),
        ('{"summary": "cut off', None),
        ("{" * 50_000, None),
        ('{"a":' * 5000, None),
    ],
)
def test_two_fields_are_read(answer: str, expected: object) -> None:
    assert read_reply(answer) == expected


@pytest.mark.parametrize("spec", [ItemTextsConfig(), UserTextsConfig()])
def test_the_example_of_the_prompt_is_no_answer(spec: ItemTextsConfig | UserTextsConfig) -> None:
    example = spec.system[spec.system.index("{") : spec.system.index("}") + 1]
    answer = '{"summary": "A lamp of oak", "keywords": ["oak"]}'
    request = request_for({"text": "Oak lamp"}, spec)
    found = clean_reply(request, TextReply(text=f"<think>I answer as {example}.</think>{answer}"), CONFIG)
    assert found == WrittenText(summary="A lamp of oak", keywords=["oak"])
    assert clean_reply(request, TextReply(text=f"As you say: {example}"), CONFIG).refused == Refusal.UNREADABLE


def test_long_texts_are_cut_at_a_word_and_keywords_are_unique() -> None:
    words = ["Oak", "oak", "x" * 41, "many words " * 5, *map(str, range(100, 120))]
    answer = json.dumps({"summary": "word " * 200, "keywords": words})
    found = clean_reply(request_for({"text": "Oak"}, ItemTextsConfig()), TextReply(text=answer), CONFIG)
    assert found.summary == ("word " * 60).strip()
    assert found.keywords == ["Oak", *map(str, range(100, 107))]


@pytest.mark.parametrize(
    ("source", "summary", "refused"),
    [
        ("Lampe aus Holz für den Tisch und das Bett", "A lamp that is made for the desk", Refusal.LANGUAGE),
        ("Lampe aus Holz für den Tisch und das Bett", "Eine Lampe für den Tisch und das Bett", ""),
        ("木製のランプ Brand X", "A wooden lamp for desks", Refusal.LANGUAGE),
        ("木製のランプ Brand X", "机のための木製ランプ Brand", ""),
        ("Дубовая лампа для стола", "Oak lamp for any desk", Refusal.LANGUAGE),
        ("Oak lamp", "Настольная лампа из дуба", Refusal.LANGUAGE),
        ("Oak lamp", "Lampe de table en chêne", ""),  # two words say nothing about the language of a source
        ("Oak lamp", "!!! ---", Refusal.EMPTY),
    ],
)
def test_a_text_in_another_language_is_refused(source: str, summary: str, refused: str) -> None:
    request = request_for({"text": source, "attribute kind": "x"}, ItemTextsConfig())
    reply = TextReply(text=json.dumps({"summary": summary, "keywords": []}))
    assert clean_reply(request, reply, CONFIG).refused == refused
    assert refused == Refusal.EMPTY or not clean_reply(request, reply, EnrichConfig(check_language=False)).refused


def test_blocked_words_are_whole_words_in_any_case() -> None:
    texts = [WrittenText(summary="A Cheap  trick"), WrittenText(keywords=["cheaper"]), WrittenText(keywords=["CHEAP"])]
    found = without_blocked(texts, ["cheap", "", "sold   out"])
    assert [text.refused for text in found] == [Refusal.BLOCKED, "", Refusal.BLOCKED]
    assert found[0].as_line == ""
    assert without_blocked([WrittenText(summary="Sold out")], ["sold   out"])[0].refused


@pytest.mark.parametrize(
    ("text", "word", "blocked"),
    [
        ("これは激安ランプです", "激安", True),  # Japanese, Chinese and Thai have no blanks between words
        ("这是最便宜的灯", "便宜", True),
        ("โคมไฟราคาถูกมาก", "ราคาถูก", True),
        ("A LED激安 lamp", "led激安", True),
        ("Sealed激安", "led激安", False),
        ("저렴한 램프", "저렴", False),  # Korean has them
        ("Le café noir", "cafe\u0301", True),  # as some keyboards write it
        ("Cafés", "café", False),
    ],
)
def test_blocked_words_of_other_scripts(text: str, word: str, blocked: bool) -> None:
    assert bool(without_blocked([WrittenText(summary=text)], [word])[0].refused) == blocked
