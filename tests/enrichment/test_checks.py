"""Checks that a plugin registers: the one of the docs page runs."""

import pytest

from recsys.enrichment.checks import TEXT_CHECKS, apply_checks
from recsys.enrichment.written_text import WrittenText
from tests.docs.pages import blocks


def test_the_check_of_the_docs_refuses_shouting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TEXT_CHECKS, "_things", {})
    (block,) = (block for block in blocks("python") if block.page == "docs/language-model-that-writes.md")
    exec(compile(block.text, str(block), "exec"), {"__name__": "my_shop.polite"})  # noqa: S102 (our own page)
    texts = [WrittenText(summary="A lamp"), WrittenText(summary="BUY NOW"), WrittenText(refused="holds a blocked word")]
    found = apply_checks(texts, ["polite"])
    assert [text.refused for text in found] == ["", "polite: shouts", "holds a blocked word"]
    assert found[1].as_line == ""
