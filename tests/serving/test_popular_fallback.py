"""The list of popular items is ready before it is needed, and leaves out what a request excludes."""

import asyncio

import pytest

from recsys.serving.contracts import ErrorDetail, RecommendationRequest, Recommendations, RecommendedItem
from recsys.serving.error_replies import ApiError
from recsys.serving.popular_fallback import POPULAR, PopularFallback

ITEMS = [
    RecommendedItem(item_id=f"i{n}", rank=n, score=-float(n), title="t", reason="r", source="popularity")
    for n in range(1, 7)
]
LIST = Recommendations(items=ITEMS, strategy="popular", run_id="r", model_id="m", snapshot_age_s=1.0, warnings=[])


def fallback_after(*answers: Recommendations | Exception, top_k: int = 3) -> PopularFallback:
    """The fallback after `recommend` was called once for each of these answers."""
    asked: list[RecommendationRequest] = []

    async def run() -> PopularFallback:
        done = asyncio.Event()

        async def recommend(request: RecommendationRequest) -> Recommendations:
            if len(asked) == len(answers):
                done.set()
                await asyncio.Event().wait()
            asked.append(request)
            answer = answers[len(asked) - 1]
            if isinstance(answer, Exception):
                raise answer
            return answer

        fallback = PopularFallback(recommend, refresh_s=0, top_k=top_k)
        keeping = asyncio.create_task(fallback.keep_fresh())
        if answers and not isinstance(answers[0], Exception):
            await done.wait()
        else:
            await asyncio.sleep(0)
        keeping.cancel()
        return fallback

    fallback = asyncio.run(run())
    assert asked == [POPULAR] * len(answers)
    return fallback


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, ["i1", "i2", "i3"]),
        ({"k": 1}, ["i1"]),
        ({"k": 9}, ["i1", "i2", "i3", "i4", "i5", "i6"]),
        ({"exclude": ["i1"], "history": [{"item_id": "i3"}]}, ["i2", "i4", "i5"]),
    ],
)
def test_the_list_has_the_wanted_length_and_nothing_excluded(request_: dict, expected: list[str]) -> None:
    answer = fallback_after(LIST).answer(RecommendationRequest(**request_), "it was late")
    assert answer is not None
    assert [item.item_id for item in answer.items] == expected
    assert [item.rank for item in answer.items] == list(range(1, len(expected) + 1))
    assert (answer.strategy, answer.warnings) == ("popular", ["it was late"])


def test_a_request_with_filters_gets_no_list_that_may_not_pass_them() -> None:
    assert fallback_after(LIST).answer(RecommendationRequest(filters={"category": "x"}), "") is None


def test_a_failure_keeps_the_list_before(caplog: pytest.LogCaptureFixture) -> None:
    error = ApiError(ErrorDetail(code="not_ready", field=None, message=""))
    broken = ValueError("a defect, or a file that cannot be read")
    assert fallback_after(LIST, error, TimeoutError(), broken).answer(RecommendationRequest(), "") is not None
    assert "a defect, or a file" in caplog.text
    assert fallback_after(error).answer(RecommendationRequest(), "") is None
