"""In the midst of a night the S3 server refuses all requests: the credentials expire, a policy changes, it is full.

No log of such a night holds a secret or the id of a user.
"""

import re
from random import Random

from recsys.storage.filesystem import Storage
from tests.faults.checks import check_output, check_published
from tests.faults.findings import LostError
from tests.faults.flaky_s3 import BUCKET, environment_of, faulty_s3
from tests.faults.night import Night
from tests.faults.shop import Shop
from tests.faults.small_disk import check_message

#: The code of the refusal, the exit code of the night, and what the error says.
_REFUSALS = (
    ("ExpiredToken", 2, "the AWS credentials have expired"),
    ("AccessDenied", 2, "check the AWS credentials and the bucket's policy"),
    ("XMinioStorageFull", 1, "no space is left"),
)
#: An id of a user in the files of the shop.
_USER = re.compile(r"\bu\d{5}\b")
#: A night sends more requests.
_REQUESTS = 250


def refuse_all(shop: Shop, number: int) -> None:
    """From a random request on; then the server takes them again, and the next start finishes the night."""
    code, exit_code, words = _REFUSALS[number % len(_REFUSALS)]
    attempt = shop.attempt(f"refused-{number}")
    root = f"s3://{BUCKET}/{attempt.folder.name}"
    with faulty_s3() as server:
        Storage(f"s3://{BUCKET}").upload_folder(shop.night_before.root, attempt.folder.name)
        server.refuse(code, Random(number).randrange(1, _REQUESTS))  # noqa: S311 (no secret)
        environment = environment_of(server)
        night = attempt.inline(storage=root, environment=environment)
        check_output(night, exit_code)
        check_message(night, words, f"s3://{BUCKET}")
        if check_published(root).run_date == shop.today:
            raise LostError(f"{root}: a night that failed is published")
        server.refuse("", 0)
        check_output(attempt.inline(storage=root, environment=environment), 0)
        check_published(root, expected=shop.expected)
    for night in attempt.nights:
        _check_silent(shop, night, environment["AWS_SECRET_ACCESS_KEY"])


def _check_silent(shop: Shop, night: Night, secret: str) -> None:
    """No output names a user or holds the secret of S3."""
    said = night.said + night.out.read_text()
    users = {user for table in shop.inputs.rglob("*.csv") for user in _USER.findall(table.read_text())}
    assert len(users) > 20, f"these are no users of the shop: {users}"
    if shown := [word for word in (secret, *users) if word in said]:
        raise LostError(f"{night.err}: shows {shown[0]}")
