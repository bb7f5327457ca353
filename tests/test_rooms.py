"""The shape of the code: one subject a file, and files that are read in one sitting."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_LINES = 300


def test_no_file_of_the_package_is_long() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "recsys").rglob("*.py")}
    assert len(lines) > 100
    too_long = {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > MOST_LINES}
    assert too_long == {}, "split these files by subject"
