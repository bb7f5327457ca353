"""The driver is killed before each commit step of a night, and started again while feedback keeps coming."""

from tests.faults.checks import check_output, check_published
from tests.faults.commit_steps import CommitSteps
from tests.faults.findings import LostError
from tests.faults.shop import Shop


def num_steps(shop: Shop) -> int:
    """The commit steps of a night."""
    return len(shop.steps)


def kill_at_step(shop: Shop, number: int) -> None:
    """SIGKILL before the step of this number; the next start, without `--date`, finishes the same night."""
    attempt = shop.attempt(f"step-{number}", shop.night_before)
    code = attempt.inline(setups=[CommitSteps(attempt.root, attempt.steps, fatal_number=number)]).wait()
    assert code < 0, f"step {number} of {len(shop.steps)} did not come; the exit code is {code}"
    check_published(attempt.root)
    begun = any(attempt.root.glob(f"runs/{shop.today}-*/start.json"))
    shop.tell(attempt, 2)
    check_output(attempt.inline(), 0)
    latest = check_published(attempt.root, expected=shop.expected if begun else shop.expected_later)
    if latest.run_date != shop.today:
        raise LostError(f"{attempt.root}: LATEST names the night of {latest.run_date}")
