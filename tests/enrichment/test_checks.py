"""Checks that a plugin registers: the one of the docs page runs."""

from collections.abc import Sequence

import pytest

from recsys.enrichment.checks import TEXT_CHECKS, TextCheck, apply_checks
from recsys.enrichment.written_text import WrittenText
from tests.docs.pages import blocks


class Classifier(TextCheck):
    """As classifiers that do not take an empty batch."""

    name = "classifier"

    def refused(self, texts: Sequence[str]) -> list[str]:
        assert texts
        return [""] * len(texts)


def test_the_check_of_the_docs_refuses_shouting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TEXT_CHECKS, "_things", {})
    (block,) = (block for block in blocks("python") if block.page == "docs/language-model-that-writes.md")
    exec(compile(block.text, str(block), "exec"), {"__name__": "my_shop.polite"})  # noqa: S102 (our own page)
    texts = [WrittenText(summary="A lamp"), WrittenText(summary="BUY NOW"), WrittenText(refused="holds a blocked word")]
    found = apply_checks(texts, ["polite"])
    assert [text.refused for text in found] == ["", "polite: shouts", "holds a blocked word"]
    assert found[1].as_line == ""


def test_a_check_is_not_asked_about_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEXT_CHECKS._things, "classifier", Classifier())
    assert apply_checks([], ["classifier"]) == []  # all questions of a part failed
    refused = [WrittenText(refused="holds a blocked word")]
    assert apply_checks(refused, ["classifier"]) == refused
