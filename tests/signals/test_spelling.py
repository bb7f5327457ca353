import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.signals.spelling import spellings


@given(st.lists(st.text(max_size=12), min_size=1, max_size=6))
def test_rows_are_directions_whatever_the_script(texts: list[str]) -> None:
    rows = spellings(texts)
    assert rows.shape[0] == len(texts)
    assert rows.dtype == np.float32
    lengths = np.linalg.norm(rows.toarray(), axis=1)
    empty = [not text.strip() for text in texts]
    assert (lengths[empty] == 0).all()
    assert lengths[~np.array(empty)] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "like", "unlike"),
    [
        ("RED METAL LANTERN", "white metal lanterns", "RED WOOLLY HOTTIE"),
        ("ガラスの灯籠", "ガラスの花瓶", "木製の時計"),
        ("садовый фонарь", "садовые фонари", "садовая лопата"),
    ],
)
def test_what_shares_rare_letters_is_alike(text: str, like: str, unlike: str) -> None:
    own, near, far, *_ = spellings([text, like, unlike, "RED CUP", "садовый стол", "木製の椅子"]).toarray()
    assert own @ near > own @ far


def test_what_all_texts_say_tells_nothing_and_the_end_of_a_long_one_is_not_read() -> None:
    texts = [f"Handmade {word}" for word in ("lantern", "lanterns", *(f"{n:03d}" for n in range(120)))]
    lantern, lanterns, other, *_ = spellings(texts).toarray()
    assert lantern @ lanterns > 0.3
    assert lantern @ other == 0
    long, longer = spellings(["lantern " * 100, "lantern " * 100 + "of a series"]).toarray()
    assert long @ longer == pytest.approx(1)
