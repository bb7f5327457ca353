"""The driver is killed while it asks S3 to write: before the server does it, or after it and before the answer.

The storage holds many small files of feedback of a day that is over, which the night merges at its end.
"""

from datetime import timedelta
from random import Random

from recsys.data.events.feedback import FEEDBACK_DIR
from recsys.pipeline.inputs.compact_feedback import LEAST_FILES
from recsys.pipeline.inputs.feedback_index import read_index
from recsys.pipeline.inputs.input_list import take_inputs
from recsys.settings import load_config
from recsys.storage.filesystem import Storage
from tests.faults.checks import check_output, check_published
from tests.faults.findings import LostError
from tests.faults.flaky_s3 import BUCKET, environment_of, faulty_s3
from tests.faults.shop import Attempt, Shop
from tests.pipeline.feedback_files import read_users

#: Writes of the merge of feedback: a compact file, its table of sources, and the index.
_OF_MERGE = ("-compact-", "/_sources/", "/_COMPACTED")
#: Each of these before and after it is done, and random writes.
NUM_TRIES = 20
#: A night sends more writes.
_WRITES = 100


def kill_at_write(shop: Shop, number: int) -> None:
    """SIGKILL at a write. The next start finishes the night, and the night after it the merge."""
    attempt = shop.attempt(f"s3-write-{number}")
    root = f"s3://{BUCKET}/{attempt.folder.name}"
    tomorrow = (shop.today + timedelta(days=1)).isoformat()
    with faulty_s3() as server:
        storage = Storage(root)
        Storage(f"s3://{BUCKET}").upload_folder(shop.night_before.root, attempt.folder.name)
        _store_small_files(storage, shop)
        told = _told(attempt, root)
        environment = environment_of(server)
        night = attempt.inline(storage=root, environment=environment)
        if number <= 2 * len(_OF_MERGE):
            server.kill(night.pid, path=_OF_MERGE[number // 2 % len(_OF_MERGE)], done=number % 2 == 1)
        else:
            server.kill(night.pid, number=Random(number).randrange(1, _WRITES), done=number % 2 == 1)  # noqa: S311
        assert night.wait() < 0, "the night was not killed"
        check_published(root)
        check_output(attempt.inline(storage=root, environment=environment), 0)
        check_published(root, expected=shop.expected)
        _check_told(attempt, root, told)
        check_output(attempt.inline("--date", tomorrow, storage=root, environment=environment), 0)
        if not read_index(storage)[0].files:
            raise LostError(f"{root}: the files of feedback were not merged")
        _check_told(attempt, root, told)


def _store_small_files(storage: Storage, shop: Shop) -> None:
    """The feedback of the night before once more, in files of two days ago: repeats do not change the lists."""
    day = shop.today - timedelta(days=2)
    lines = shop.feedback(1)
    for number in range(LEAST_FILES):
        name = f"{day:%Y%m%d}T{number:06d}Z-shop-{0:012x}-{number:06d}.jsonl"
        storage.write_bytes(f"{FEEDBACK_DIR}/{name}", lines[number % len(lines)])


def _told(attempt: Attempt, root: str) -> list[str]:
    """The user of each event of feedback that a night would read now."""
    config = load_config(attempt.write_config(storage=root))
    return sorted(read_users(config, take_inputs(config, attempt.shop.today)))


def _check_told(attempt: Attempt, root: str, expected: list[str]) -> None:
    if (told := _told(attempt, root)) != expected:
        raise LostError(f"{root}: {len(told)} events of feedback are read, and {len(expected)} were stored")
