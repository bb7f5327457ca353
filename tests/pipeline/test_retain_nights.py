"""Retention deletes whole nights, and nothing that a pointer, a reader or a kept night needs."""

import contextlib
import datetime as dt
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from recsys.errors import InputError, RecsysError
from recsys.pipeline.publishing.retain_nights import retain_nights
from recsys.pipeline.publishing.retention_plan import plan_retention
from recsys.storage.config import RetentionConfig
from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST
from recsys.storage.lease import RETENTION, lock
from recsys.storage.nights import published_nights
from recsys.storage.runs import RunFolder
from tests.stored_nights import FIRST, MadeUpNight, contents, digest, moment, publish_night, write, write_night

TWO = RetentionConfig(keep_nights=2)
NAMES = ("0123456789ab", "0123456789ab-2", "ffffffffffff")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "warehouse"


def successive(root: Path, num: int, **values: Any) -> list[MadeUpNight]:
    """Nights of one day after the other; each continues the model of the night before."""
    nights: list[MadeUpNight] = []
    for day in range(num):
        nights.append(MadeUpNight(day=day, warm=nights[-1].run_id if nights else "", **values))
        write_night(root, nights[-1], move_latest=True)
    return nights


def runs_in(root: Path) -> set[str]:
    return {path.parent.name for path in root.glob("runs/*/start.json")}


def needed_by(night: MadeUpNight, nights: list[MadeUpNight], files: dict[str, bytes]) -> set[str]:
    """Files without which a night cannot be served, measured or continued."""
    models = {f"ranker-{night.run_id}", f"ranker-{night.run_id}-refit"}
    encoders = set(night.encoders)
    by_id = {each.run_id: each for each in nights}
    for other in (night.warm, night.arm):
        if other:
            models.add(f"ranker-{other}")
            encoders |= by_id[other].encoders if other in by_id else set()
    parts = {f"run_id={night.run_id}", night.run_id, *models, *encoders}
    return {path for path in files if parts & set(path.split("/"))}


def test_the_newest_nights_stay_and_the_others_go_as_a_whole(root: Path) -> None:
    nights = successive(root, 5)
    before = contents(root)
    done = retain_nights(Storage(str(root)), TWO, moment(5.2))
    assert done.deleted == [night.run_id for night in nights[:3]]
    assert runs_in(root) == {night.run_id for night in nights[3:]}
    after = contents(root)
    left = {path for path in after if any(night.run_id in path for night in nights[:3])}
    # figures of all nights, vectors that every night reads, and the model that the oldest kept night continued
    assert {path.split("/")[0] for path in left} == {"metrics", "site", "items", "models", "runs"}
    assert {path for path in left if path.startswith("models")} == {
        f"models/ranker-{nights[2].run_id}/{name}" for name in ("fusion.json", "model.json", "ranker.safetensors")
    }
    assert {path for path in left if path.startswith("runs")} == {f"runs/{nights[2].run_id}/deleting.json"}
    assert {path for path in left if path.startswith("site")} == {
        f"site/summaries/{night.run_id}.json" for night in nights[:3]
    }
    for night in nights[3:]:
        assert needed_by(night, nights, before) <= set(after)
    freed = sum(len(data) for path, data in before.items() if path not in after and "site/" not in path)
    assert freed <= done.bytes <= freed + 100
    assert not list(root.glob("recommendations/run_date=2026-11-0[123]/*"))
    again = retain_nights(Storage(str(root)), TWO, moment(5.2))
    assert (again.deleted, again.bytes) == ([], 0)


def test_the_model_of_a_deleted_night_goes_when_nobody_needs_it_any_more(root: Path) -> None:
    nights = successive(root, 3)
    retain_nights(Storage(str(root)), TWO, moment(3.2))
    write_night(root, MadeUpNight(day=3, warm=nights[2].run_id), move_latest=True)
    done = retain_nights(Storage(str(root)), TWO, moment(4.2))
    assert done.deleted == [nights[1].run_id]
    assert not list(root.glob(f"*/*{nights[0].run_id}*"))


def test_without_a_rule_nothing_is_deleted(root: Path) -> None:
    successive(root, 4)
    write_night(root, MadeUpNight(day=0, name="aaaaaaaaaaaa", published=False))
    before = contents(root)
    assert retain_nights(Storage(str(root)), RetentionConfig(), moment(400)).deleted == []
    assert contents(root) == before


def test_days_are_counted_from_the_newest_night(root: Path) -> None:
    nights = [MadeUpNight(day=day) for day in (0, 3, 9, 10)]
    for night in nights:
        write_night(root, night, move_latest=True)
    settings_ = RetentionConfig(keep_days=8)
    assert set(plan_retention(Storage(str(root)), settings_, moment(300)).kept) == {n.run_id for n in nights[1:]}
    both = RetentionConfig(keep_days=2, keep_nights=3)
    assert set(plan_retention(Storage(str(root)), both, moment(300)).kept) == {n.run_id for n in nights[1:]}


@pytest.mark.parametrize("rules", [RetentionConfig(keep_nights=2), RetentionConfig(keep_days=2)])
@pytest.mark.parametrize("ahead", [3, 365])
def test_a_night_of_a_mistyped_later_date_takes_no_place_of_another(
    root: Path, rules: RetentionConfig, ahead: int
) -> None:
    mistyped = MadeUpNight(day=4 + ahead, moment=4.5)
    write_night(root, mistyped, move_latest=True)
    nights = [MadeUpNight(day=day) for day in range(5)]
    for night in nights:
        write_night(root, night)
    storage = Storage(str(root))
    now = nights[-1].at + dt.timedelta(hours=1)  # on the day after the newest night
    kept = plan_retention(storage, rules.model_copy(update={"grace_hours": 0.0}), now).kept
    assert set(kept) == {mistyped.run_id, *(night.run_id for night in nights[3:])}
    publish_night(root, nights[-1], move_latest=True)  # as `jobs/publish.py --to` does
    assert plan_retention(storage, rules, now).kept[mistyped.run_id] == "kept", "the clock may be wrong instead"
    assert set(plan_retention(storage, rules, moment(-400)).kept) >= {night.run_id for night in nights}


def test_the_night_of_latest_stays_however_old_it_is(root: Path) -> None:
    nights = successive(root, 5)
    publish_night(root, MadeUpNight(day=1, moment=5.1), move_latest=True)
    retain_nights(Storage(str(root)), TWO, moment(9))
    assert runs_in(root) == {nights[place].run_id for place in (1, 3, 4)}


def test_a_night_stays_while_somebody_who_opened_it_may_still_read(root: Path) -> None:
    nights = successive(root, 3)
    one = RetentionConfig(keep_nights=1, grace_hours=6)
    moved_away = nights[2].at
    assert (
        plan_retention(Storage(str(root)), one, moved_away + dt.timedelta(hours=5.9)).kept[nights[1].run_id]
        == "may still be read"
    )
    plan = plan_retention(Storage(str(root)), one, moved_away + dt.timedelta(hours=6.1))
    assert set(plan.kept) == {nights[2].run_id}
    # a rollback: LATEST moved away from the newest night a moment ago, though that one was published long before
    publish_night(root, MadeUpNight(day=0, moment=20), move_latest=True)
    write_night(root, MadeUpNight(day=9, moment=10))
    plan = plan_retention(Storage(str(root)), one, moment(20.1))
    assert plan.kept[f"{FIRST + dt.timedelta(days=9)}-{NAMES[0]}"] == "kept"
    assert nights[2].run_id not in plan.kept


def test_an_unfinished_run_goes_when_nobody_worked_on_it_for_long(root: Path) -> None:
    successive(root, 2)
    unfinished = MadeUpNight(day=0, name="aaaaaaaaaaaa", published=False, moment=1.5)
    write_night(root, unfinished)
    storage = Storage(str(root))
    assert unfinished.run_id in plan_retention(storage, TWO, moment(15.4)).kept
    assert unfinished.run_id not in plan_retention(storage, TWO, moment(15.6)).kept
    with lock(RunFolder(storage, unfinished.run_id)):  # somebody works on it now
        now = dt.datetime.now(dt.UTC)
        assert unfinished.run_id in plan_retention(storage, TWO, now).kept


def test_a_night_at_work_is_left_to_the_next_retention(root: Path) -> None:
    nights = successive(root, 4)
    storage = Storage(str(root))
    with lock(RunFolder(storage, nights[0].run_id), nights[0].run_id):  # as `jobs/evaluate.py --run` holds it
        done = retain_nights(storage, TWO, moment(4.2))
    assert (done.in_use, done.deleted) == ([nights[0].run_id], [nights[1].run_id])
    assert retain_nights(storage, TWO, moment(4.2)).deleted == [nights[0].run_id]
    assert not (root / "locks" / nights[0].run_id).exists()


def test_two_retentions_do_not_work_at_once(root: Path) -> None:
    nights = successive(root, 4)
    storage = Storage(str(root))
    with (
        lock(RunFolder(storage, nights[3].run_id), RETENTION),
        pytest.raises(Exception, match="deletion of old nights"),
    ):
        retain_nights(storage, TWO, moment(4.2))


@pytest.mark.parametrize(
    "damaged", ["runs/2026-11-05-aaaaaaaaaaaa/config.yaml", "models/ranker-{}/model.json", "runs/{}/published.json"]
)
def test_nothing_is_deleted_where_nobody_can_tell_what_is_needed(root: Path, damaged: str) -> None:
    nights = successive(root, 4)
    write_night(root, MadeUpNight(day=4, name="aaaaaaaaaaaa", published=False))
    path = damaged.format(nights[3].run_id)
    write(root, path, "{")
    before = contents(root)
    with pytest.raises(RecsysError, match=path):
        retain_nights(Storage(str(root)), TWO, moment(4.2))
    assert contents(root) == before


@pytest.mark.parametrize(
    ("place", "way_out"), [(2, "--to RUN_ID"), (0, "delete that file, if its lists are not needed")]
)
def test_nothing_is_deleted_where_the_manifest_of_a_published_night_is_lost(
    root: Path, place: int, way_out: str
) -> None:
    nights = successive(root, 3)
    (lost,) = root.glob(f"recommendations/*/run_id={nights[place].run_id}/_MANIFEST.json")
    manifest = lost.read_text()
    lost.unlink()
    before = contents(root)
    with pytest.raises(InputError, match=rf"{lost}: is missing, and .* run {nights[place].run_id} .*{way_out}"):
        retain_nights(Storage(str(root)), TWO, moment(40))
    assert contents(root) == before
    lost.write_text(manifest)
    assert retain_nights(Storage(str(root)), TWO, moment(40)).deleted == [nights[0].run_id]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_nothing_is_deleted_where_a_folder_of_lists_cannot_be_read(
    root: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = successive(root, 3)
    before, scandir = contents(root), os.scandir

    def failing(path: Any) -> Any:
        if str(path).endswith(f"run_date={nights[2].run_id[:10]}"):
            raise OSError(number, os.strerror(number), str(path))
        return scandir(path)

    with monkeypatch.context() as faults:
        faults.setattr(os, "scandir", failing)
        with pytest.raises((RecsysError, OSError), match=os.strerror(number)):
            retain_nights(Storage(str(root)), TWO, moment(40))
    assert contents(root) == before


def test_vectors_of_encoders_go_with_the_models_that_read_them(root: Path) -> None:
    for day in range(4):
        write_night(root, MadeUpNight(day=day, encoder=day + 1), move_latest=True)
    retain_nights(Storage(str(root)), TWO, moment(4.2))
    assert {path.name for path in (root / "items").iterdir()} == {digest(number) for number in (0, 3, 4)}


def test_written_texts_go_with_the_nights_that_used_them(root: Path) -> None:
    for day in range(4):
        night = MadeUpNight(day=day)
        write_night(root, night, move_latest=True)
        for stage, number in {"enrich": day, "enrich_users": 9}.items():
            record = root / "runs" / night.run_id / "stages" / f"{stage}.json"
            record.write_text(json.dumps({"writer_id": digest(number)}))
            path = root / "written_texts" / digest(number) / f"{night.run_id}-part.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    retain_nights(Storage(str(root)), TWO, moment(4.2))
    assert {path.name for path in (root / "written_texts").iterdir()} == {digest(number) for number in (2, 3, 9)}


class PowerCut(BaseException):
    """Nothing in the product catches this."""


class Interrupted(Storage):
    """A storage that is gone just before its n-th change."""

    state: dict[str, int]

    def __init__(self, root: str, cut_at: int) -> None:
        super().__init__(root)
        object.__setattr__(self, "state", {"changes": 0, "cut_at": cut_at})

    def _change(self, path: str) -> None:
        if path.startswith("locks/"):
            return
        self.state["changes"] += 1
        if self.state["changes"] >= self.state["cut_at"]:
            raise PowerCut

    def write_bytes(self, path: str, data: bytes) -> None:
        self._change(path)
        super().write_bytes(path, data)

    def delete(self, path: str) -> None:
        self._change(path)
        super().delete(path)


def test_a_deletion_that_is_interrupted_anywhere_leaves_no_half_night_and_is_finished_by_the_next(root: Path) -> None:
    nights, one = successive(root, 3), RetentionConfig(keep_nights=1)
    whole = contents(root)
    reference = root.with_name("reference")
    shutil.copytree(root, reference)
    retain_nights(Storage(str(reference)), one, moment(4.2))
    wanted = set(contents(reference))
    for cut_at in range(1, 200):
        shutil.rmtree(root)
        for path, data in whole.items():
            write(root, path, data.decode())
        interrupted = Interrupted(str(root), cut_at)
        with contextlib.suppress(PowerCut):
            retain_nights(interrupted, one, moment(4.2))
        now = contents(root)
        for night in published_nights(Storage(str(root))):
            # what is published has all its files, and a start of it answers or publishes it again
            needed = needed_by(next(each for each in nights if each.run_id == night.run_id), nights, whole)
            gone = {path for path in needed - set(now) if not path.endswith(("start.json", "stages/publish.json"))}
            assert not gone, (cut_at, sorted(gone))
        shutil.rmtree(root / "locks", ignore_errors=True)  # the dead machine's leases have expired
        retain_nights(Storage(str(root)), one, moment(4.2))
        assert set(contents(root)) == wanted
        if interrupted.state["changes"] < cut_at:
            break
    assert 25 < cut_at < 199


@st.composite
def shops(draw: st.DrawFn) -> list[MadeUpNight]:
    """Any nights of a storage: repeated, forced, unfinished, made up later; with models of any others of them."""
    keys = draw(st.lists(st.tuples(st.integers(0, 7), st.sampled_from(NAMES)), min_size=1, max_size=8, unique=True))
    nights: list[MadeUpNight] = []
    for day, name in sorted(keys):
        others = st.sampled_from(["", *(night.run_id for night in nights)])
        night = MadeUpNight(
            day=day,
            name=name,
            published=draw(st.integers(0, 3)) > 0,
            moment=day + draw(st.floats(1, 12)),
            warm=draw(others),
            arm=draw(others),
            encoder=draw(st.integers(0, 3)),
        )
        nights.append(night)
    return nights


RULES = st.builds(
    RetentionConfig,
    keep_nights=st.none() | st.integers(1, 4),
    keep_days=st.none() | st.integers(1, 4),
    grace_hours=st.sampled_from([0.0, 24.0, 72.0]),
    unfinished_days=st.integers(1, 8),
)


@settings(max_examples=25, phases=[Phase.explicit, Phase.generate])  # the examples are small; to shrink takes minutes
@given(shops(), RULES, st.integers(0, 7), st.floats(8, 22))
@example([MadeUpNight(day=day, encoder=day) for day in range(6)], RetentionConfig(keep_nights=1), 0, 21.0)
def test_what_is_deleted_is_never_reachable_from_what_is_kept(
    nights: list[MadeUpNight], rules: RetentionConfig, latest: int, days: float
) -> None:
    with _folder() as root:
        published = [night for night in nights if night.published]
        named = published[latest % len(published)] if published else None
        for night in nights:
            write_night(root, night, move_latest=night is named)
        before = contents(root)
        now = moment(days)
        storage = Storage(str(root))
        kept = plan_retention(storage, rules, now).kept
        assert _must_stay(nights, named, rules, now) <= set(kept)
        retain_nights(storage, rules, now)
        after = contents(root)
        for night in nights:
            own = {path for path in before if night.run_id in path.split("/")[1:2] or f"run_id={night.run_id}" in path}
            if night.run_id in kept:
                needed = needed_by(night, nights, before)
                assert {path: after.get(path) for path in needed} == {path: before[path] for path in needed}
            else:
                assert {path.split("/")[0] for path in own & set(after)} <= {"metrics"}
        assert (after.get(LATEST) == before.get(LATEST)) or named is None
        assert retain_nights(storage, rules, now).deleted == []
        assert contents(root) == after


def _must_stay(
    nights: list[MadeUpNight], latest: MadeUpNight | None, rules: RetentionConfig, now: dt.datetime
) -> set[str]:
    """By a simple reading of the rules: the night of LATEST, the newest nights, and what was published lately."""
    published = [night for night in nights if night.published]
    days = sorted({night.day for night in published})
    recent = now - dt.timedelta(hours=rules.grace_hours)
    stays = {night.run_id for night in published if night is latest or night.at > recent}
    if not rules.is_on:
        return {night.run_id for night in nights}
    newest = set(days[-rules.keep_nights :]) if rules.keep_nights is not None else set()
    newest |= {day for day in days if rules.keep_days is not None and days[-1] - day < rules.keep_days}
    alive = now - dt.timedelta(days=rules.unfinished_days)
    stays |= {night.run_id for night in nights if not night.published and night.at > alive}
    return stays | {night.run_id for night in published if night.day in newest}


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "warehouse"


def test_the_mark_of_a_deletion_is_json(root: Path) -> None:
    nights = successive(root, 3)
    retain_nights(Storage(str(root)), TWO, moment(3.2))
    mark = json.loads((root / f"runs/{nights[0].run_id}/deleting.json").read_bytes())
    assert dt.datetime.fromisoformat(mark["begun_at"]).tzinfo is not None


def test_nights_on_s3_are_deleted_as_on_a_disk(root: Path, s3_client: Any) -> None:
    s3_client.create_bucket(Bucket="shop")
    nights = successive(root, 3)
    for path, data in contents(root).items():
        s3_client.put_object(Bucket="shop", Key=f"wh/{path}", Body=data)
    storage = Storage("s3://shop/wh")
    assert retain_nights(storage, TWO, moment(3.2)).deleted == [nights[0].run_id]
    retain_nights(Storage(str(root)), TWO, moment(3.2))
    there = {name for name in storage.list("", recursive=True) if not name.startswith("locks/")}
    assert there == set(contents(root))
