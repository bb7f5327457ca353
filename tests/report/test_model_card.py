"""The Markdown of a model's card."""

from recsys.report.model_card import CardFacts, Measured, code, render_model_card


def facts(**changes: object) -> CardFacts:
    given: dict[str, object] = {
        "model_id": "ranker-1",
        "night": "2026-11-22",
        "run_id": "1",
        "made_from": "Its training began with random weights.",
        "data": {"events": "10"},
        "network": {"decoder": "small"},
        "training": {"epochs": "4"},
        "weights": {"ranker": (1.0, 0.5, 0.0)},
        "trees": 0,
        "verdict": "The gate: `good`.",
        "metrics": [Measured(what="ndcg@10", value="0.1000", users=1234)],
        "limits": ["It is of one shop."],
    }
    return CardFacts(**(given | changes))  # type: ignore[arg-type]


def test_every_section_is_there() -> None:
    page = render_model_card(facts())
    titles = [line for line in page.splitlines() if line.startswith("#")]
    assert titles == [
        "# Model ranker-1",
        *(
            "## Data",
            "## Network",
            "## Training",
            "## Weights of the signals",
            "## Metrics",
            "## Licences",
            "## Limits",
        ),
    ]
    assert "| `ranker` | +1.0000 | +0.5000 | +0.0000 |" in page
    assert "| ndcg@10 | 0.1000 | – | 1,234 |" in page
    assert "not built on pretrained weights" in page


def test_a_model_without_weights_and_metrics_has_a_card_too() -> None:
    page = render_model_card(facts(weights={}, metrics=(), licences={"owner/name": "mit"}))
    assert "No weights were fitted." in page
    assert "Nothing was measured." in page
    assert "| `owner/name` | mit |" in page


def test_data_is_never_markup() -> None:
    assert code("<b>`x`\n| y") == "`<b>'x' ¦ y`"
    assert code("") == "–"
