"""sha256 of the files of a model or a text encoder, in `hashes.json` beside them: verified before they are loaded."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from recsys.errors import InputError
from recsys.storage.record_kinds import FILE_HASHES

HASHES_FILE = "hashes.json"


def write_hashes(folder: Path, names: Iterable[str] | None = None) -> None:
    """Write the hashes of files of a local folder; None: of all files, also below it."""
    if names is None:
        names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    hashes = hashes_of(folder, sorted(set(names) - {HASHES_FILE}))
    (folder / HASHES_FILE).write_text(json.dumps(FILE_HASHES.stamp(hashes), indent=2) + "\n")


def hashes_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Hex sha256 of files of a local folder, by name."""
    return {name: _sha256(folder / name) for name in names}


def verify_hashes(folder: Path) -> None:
    """Compare the files of a local folder with their hashes; a model of an older version has none.

    Raises:
        InputError: a file is missing or is not the one that was written, or the hashes cannot be read.
        NewerFormatError: a newer release wrote the hashes.
    """
    path = folder / HASHES_FILE
    try:
        hashes = FILE_HASHES.current(json.loads(path.read_text()), str(path))
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError) as error:  # the last one: it is no object
        raise _damaged(folder, HASHES_FILE, str(error)) from error
    for name, written in hashes.items():
        try:
            found = _sha256(folder / name)
        except FileNotFoundError as error:
            raise _damaged(folder, name, "it is missing") from error
        if found != written:
            raise _damaged(folder, name, f"its sha256 is {found}, written was {written}")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _damaged(folder: Path, name: str, why: str) -> InputError:
    return InputError(f"model {folder}: {name} is not the file that was written: {why}; restore it, or train it again")
