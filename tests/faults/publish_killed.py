"""The driver is killed before and after each step by which a night is published, while readers follow LATEST."""

from tests.faults.checks import check_output, check_published
from tests.faults.commit_steps import CommitSteps
from tests.faults.readers import readers
from tests.faults.shop import Shop


def num_tries(shop: Shop) -> int:
    """Two for each step of the stage `publish`."""
    return 2 * len(_steps(shop))


def kill_at_publish_step(shop: Shop, number: int) -> None:
    """SIGKILL before a step (odd numbers) or after it (even numbers), then another start; four readers read on."""
    path, after = _steps(shop)[(number - 1) // 2], number % 2 == 0
    attempt = shop.attempt(f"publish-{number}", shop.stopped_before("stages/check.json"))
    with readers(attempt.root, attempt.folder, shop.published):
        steps = CommitSteps(attempt.root, attempt.steps, fatal_path=path, after=after)
        code = attempt.inline(setups=[steps]).wait()
        assert code < 0, f"no step changes {path}; the exit code is {code}"
        check_published(attempt.root)
        check_output(attempt.inline(), 0)
    check_published(attempt.root, expected=shop.expected)


def _steps(shop: Shop) -> list[str]:
    """Ends of the paths that the stages `check` and `publish` write."""
    paths = [step.partition(" ")[2] for step in shop.steps]
    first = next(place for place, path in enumerate(paths) if path.endswith("stages/check.json"))
    last = next(place for place, path in enumerate(paths) if path.endswith("stages/publish.json"))
    return paths[first : last + 1]
