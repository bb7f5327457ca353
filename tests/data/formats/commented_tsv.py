"""Tab-separated files with comment lines: the plugin of a user who has such files."""

import io
from collections.abc import Iterator
from typing import IO

from recsys.data.formats.csv import read_csv
from recsys.data.formats.input_format import Chunk, InputFormat, Source
from recsys.data.formats.registry import FORMATS


class CommentedTsv(InputFormat):
    """Tab-separated text in which a line that begins with `#` is a comment."""

    name = "commented_tsv"
    endings = (".ctsv",)
    header_lines = 2  # usually one comment and the names of the columns; for estimates

    def read(self, stream: IO[bytes], source: Source) -> Iterator[Chunk]:
        """Read the whole file into memory, without the comments."""
        lines = b"".join(line for line in stream if not line.startswith(b"#"))
        return read_csv(io.BytesIO(lines), source.path, encoding=source.options.encoding, delimiter="\t")


FORMATS.register(CommentedTsv())
