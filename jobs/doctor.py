"""Checks everything that a night needs, before it runs: each line is ok, or says what to do.

python jobs/doctor.py --config configs/demo.yaml

Exit codes: 0 everything is ok; 1 something is not; 2 the command line is wrong.
"""

import json
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict

from rich.text import Text

from jobs import command
from jobs.log_output import console, log_output
from recsys.errors import RecsysError
from recsys.pipeline.doctor.diagnosis import Diagnosis, failed
from recsys.pipeline.night_date import night_date
from recsys.settings import load_config


def main() -> int:
    """The command line."""
    parser = command.parser(
        "Check config, versions, compiler, GPU, Ray, storage, and the first 1,000 rows of each input. Each line is ok, "
        "or says what to do. What is written for the check is deleted. Exit code 0: everything is ok; 1: something is "
        "not; 2: the command line is wrong."
    )
    options = parser.parse_args()
    found: list[Diagnosis] = []
    with log_output(options.log_format, verbose=options.verbose):
        for diagnosis in diagnoses(options):
            found.append(diagnosis)
            _print(diagnosis)
    good = all(each.ok for each in found)
    answer = {
        "status": "ok" if good else "not_ok",
        "run_id": None,
        "path": None,
        "checks": [asdict(each) for each in found],
    }
    print(json.dumps(answer), flush=True)  # noqa: T201 (the job's answer)
    return 0 if good else 1


def diagnoses(options: Namespace) -> Iterator[Diagnosis]:
    """The checks, one after the other; without a config that can be read, only that of the config."""
    try:
        config = load_config(options.config, options.set, options.date)
    except RecsysError as error:
        yield Diagnosis(check="config", ok=False, found=str(error))
        return
    yield Diagnosis(check="config", ok=True, found=f"{options.config}: every key is known and in its range")
    # Ray and torch take seconds to import; a wrong config is told before that
    from recsys.pipeline.doctor.diagnose_inputs import diagnose_inputs
    from recsys.pipeline.doctor.diagnose_machine import diagnose_machine
    from recsys.pipeline.doctor.diagnose_storage import diagnose_storage

    yield from diagnose_machine(config)
    yield from diagnose_storage(config)
    try:
        date = night_date(config)
    except Exception as error:  # noqa: BLE001 (the answer must have the other checks)
        yield failed("date", error)
        return
    yield from diagnose_inputs(config, date)


def _print(diagnosis: Diagnosis) -> None:
    mark = Text("ok   ", "green") if diagnosis.ok else Text("to do", "red")
    console.print(mark, Text(f"{diagnosis.check:<11}{diagnosis.found}"), sep="  ", soft_wrap=True)
    if diagnosis.way_out:
        console.print(Text(f"{'':18}{diagnosis.way_out}"), soft_wrap=True)


if __name__ == "__main__":
    command.end_process(main)
