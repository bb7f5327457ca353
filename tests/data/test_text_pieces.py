import io

from hypothesis import given
from hypothesis import strategies as st

from recsys.data.files.text_pieces import Piece, TextPieces


@st.composite
def texts_and_pieces(draw: st.DrawFn) -> tuple[bytes, list[Piece]]:
    text = draw(st.lists(st.sampled_from([b"a", b"bc", b"\n"]), max_size=30).map(b"".join))
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return text, [(first, last) for first, last in zip(places[::2], places[1::2], strict=False) if first < last]


@given(texts_and_pieces(), st.integers(1, 40))
def test_each_piece_is_read_and_none_runs_into_the_next(drawn: tuple[bytes, list[Piece]], size: int) -> None:
    text, pieces = drawn
    expected = b""
    for first, last in pieces:
        if expected and not expected.endswith(b"\n"):
            expected += b"\n"
        expected += text[first:last]
    read = io.BufferedReader(TextPieces(io.BytesIO(text), pieces), size)
    assert read.read() == expected
    by_size = TextPieces(io.BytesIO(text), pieces)
    assert b"".join(iter(lambda: by_size.read(size), b"")) == expected


def test_a_file_that_is_shorter_than_its_pieces_ends() -> None:
    assert TextPieces(io.BytesIO(b"abc"), [(1, 9), (20, 30)]).readall() == b"bc\n"
