"""A file of a published night is missing, cut, or has one bit that is not as it was written."""

import contextlib
import datetime as dt
import io
import json
import shutil
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from jobs import show
from jobs.start_service import load_live
from recsys.serving.contracts import RecommendationRequest
from recsys.serving.snapshot_reload import SnapshotReloader
from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST, require_latest
from recsys.storage.manifest import read_manifest
from recsys.storage.tables import read_table
from tests.faults.checks import check_output, check_published
from tests.faults.findings import LostError, TracebackError
from tests.faults.shop import Attempt, Shop

#: Exit code of a job that refuses what it reads.
REFUSED = 3
_HOW = ("missing", "cut", "one bit")
_FILES = {
    "shard": "{path}/shard-00000.parquet",
    "manifest": "{path}/_MANIFEST.json",
    "weights": "models/{model_id}/ranker.safetensors",
    "card": "models/{model_id}/model.json",
    "LATEST": LATEST,
}
_CASES = [(what, how) for what in _FILES for how in _HOW]
NUM_CASES = len(_CASES)


def damage(shop: Shop, number: int) -> None:
    """The live service, another start, the next night and `jobs/show.py` find it and name it, or repair it."""
    what, how = _CASES[(number - 1) % NUM_CASES]
    random = Random(number)  # noqa: S311
    _serve(shop, what, how, random)
    _start_again(shop, what, how, random)
    _make_next_night(shop, what, how, random)
    _show(shop, what, how, random)


def _serve(shop: Shop, what: str, how: str, random: Random) -> None:
    """The service has the night before, and finds a damaged new one: it keeps the old one, and says why."""
    attempt = shop.attempt("served", shop.night_before)
    reloader = SnapshotReloader(Storage(str(attempt.root)), load_live)
    assert reloader.refresh(), reloader.error
    old = reloader.current
    shutil.rmtree(attempt.root)
    shutil.copytree(shop.undisturbed.root, attempt.root)
    file = _damage(attempt, what, how, random)
    if reloader.refresh():
        if how != "one bit" or what not in ("shard", "LATEST"):
            raise LostError(f"{file}: {how}: the service has loaded the night")
        # the size is right; a page whose checksum is wrong is found when one of its users comes
        users = [RecommendationRequest(user_id=user) for user in _users(shop.undisturbed.root)]
        answers = reloader.current.answer(users, dt.datetime.now(dt.UTC))
        if not all(answer.items for answer in answers):
            raise LostError(f"{file}: {how}: a user gets no list")
        return
    if reloader.current is not old:
        raise LostError(f"{file}: {how}: the service has no snapshot")
    _named(file, reloader.error)


def _start_again(shop: Shop, what: str, how: str, random: Random) -> None:
    """The same night is started again: it repairs what is lost, or refuses, and then `--force` makes the lists."""
    attempt = shop.attempt("again", shop.undisturbed)
    file = _damage(attempt, what, how, random)
    night = attempt.inline()
    check_output(night, 0, REFUSED)
    if night.wait() == REFUSED:
        _named(file, night.answer()["error"])
        if what == "LATEST":
            file.unlink()
            check_output(attempt.inline(), 0)
        else:
            check_output(attempt.inline("--force"), 0)
            check_published(attempt.root)
            return
    if what in ("weights", "card"):
        return  # the lists are whole
    check_published(attempt.root, expected=shop.expected)


def _make_next_night(shop: Shop, what: str, how: str, random: Random) -> None:
    """The night before is damaged, and today's is made: without what is damaged, or not at all."""
    attempt = shop.attempt("next", shop.night_before)
    file = _damage(attempt, what, how, random)
    night = attempt.inline()
    check_output(night, 0, REFUSED)
    if night.wait() == REFUSED:
        _named(file, night.answer()["error"])
        if what != "LATEST":
            raise LostError(f"{file}: {how}: stops the next night: {night.answer()['error']}")
        file.unlink()
        check_output(attempt.inline(), 0)
    elif what in ("weights", "card", "manifest"):
        _named(file, night.said)
    check_published(attempt.root)


def _show(shop: Shop, what: str, how: str, random: Random) -> None:
    """`jobs/show.py` shows every user's list as it was published, or says what is damaged."""
    attempt = shop.attempt("shown", shop.undisturbed)
    file = _damage(attempt, what, how, random)
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = show.main(["--config", str(attempt.write_config()), "--users", "1000"])
    if code not in (0, REFUSED):
        raise TracebackError(f"{file}: {how}: jobs/show.py ended with {code}: {said.getvalue()}")
    if code == REFUSED:
        _named(file, said.getvalue())
    elif what in ("shard", "manifest") or (what == "LATEST" and how != "one bit"):
        raise LostError(f"{file}: {how}: jobs/show.py does not find it")


def _damage(attempt: Attempt, what: str, how: str, random: Random) -> Path:
    """Damage one file of the night that LATEST names."""
    latest: dict[str, Any] = json.loads((attempt.root / LATEST).read_text())
    file = attempt.root / _FILES[what].format(**latest)
    content = bytearray(file.read_bytes())
    if how == "missing":
        file.unlink()
    elif how == "cut":
        file.write_bytes(content[: random.randrange(len(content))])
    else:
        bit = random.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        file.write_bytes(content)
    return file


def _named(file: Path, said: str | None) -> None:
    """A message must name the file, or for a pointer to nothing the storage."""
    names = (
        (file.name, file.parent.name)
        if file.name != Path(LATEST).name
        else (file.name, "nothing is published", "manifest")
    )
    if not said or not any(name in said for name in names):
        raise LostError(f"{file}: is not named: {said}")


@cache
def _users(folder: Path) -> list[str]:
    """All users with a list."""
    storage = Storage(str(folder))
    latest = require_latest(storage)
    names = (shard["name"] for shard in read_manifest(storage, latest)["shards"])
    return sorted(
        {user for name in names for user in read_table(storage, f"{latest.path}/{name}")["user_id"].to_pylist()}
    )
