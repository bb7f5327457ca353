"""The night as a Ray job: `ray job submit --working-dir .` to a cluster that `ray start --head` made."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from recsys.pipeline.workers.cluster import PASSIVE_WAIT
from recsys.schema import RECOMMENDATIONS
from tests.conftest import free_ports

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

#: A machine of a real cluster has the dependencies, but not this checkout: what `pip install -e` added is taken away.
WITHOUT_CHECKOUT = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if getattr(finder, "__name__", "") != "_EditableFinder"]
"""


@dataclass(frozen=True)
class Job:
    """What Ray knows of a job that ended."""

    code: int
    """Exit code of `ray job submit`."""
    record: dict[str, Any]
    """The REST interface's answer."""
    log: str

    @property
    def answer(self) -> dict[str, Any]:
        """The last line that the job printed."""
        answer: dict[str, Any] = json.loads(self.log.strip().splitlines()[-1])
        return answer


@dataclass(frozen=True)
class Cluster:
    """A running cluster, seen from outside."""

    address: str
    folder: Path
    environment: dict[str, str]

    def submit(self, *entrypoint: str | Path) -> Job:
        """Submit a job from the repository's root, as the README says, and wait for its end."""
        command = [BIN / "ray", "job", "submit", "--address", self.address, "--working-dir", ".", "--", *entrypoint]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=300)
        found = re.search(r"raysubmit_\w+", done.stdout)
        assert found, done.stdout + done.stderr
        record, log = self._get(f"/api/jobs/{found[0]}"), self._get(f"/api/jobs/{found[0]}/logs")["logs"]
        sys.stderr.write(log)  # shown where the test fails
        return Job(done.returncode, record, log)

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(f"{self.address}{path}")  # noqa: S310 (our own cluster)
        request.add_header("Authorization", f"Bearer {self.environment['RAY_AUTH_TOKEN']}")
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return json.load(response)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of its own beside any other Ray on this machine, on free ports, stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: a socket's path has at most 107 bytes
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WITHOUT_CHECKOUT)
    # the job sets `PASSIVE_WAIT` for its workers itself, where the cluster was started without
    environment = {name: os.environ[name] for name in os.environ.keys() - {"RAY_ADDRESS", *PASSIVE_WAIT}}
    environment |= {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # the job's entry point is `python`
        "PYTHONPATH": str(folder / "site"),
    }
    named = ("--port", "--dashboard-port", "--dashboard-agent-listen-port", "--ray-client-server-port")
    ports = dict(zip(named, free_ports(len(named)), strict=True))
    command = [BIN / "ray", "start", "--head", "--block", "--num-cpus=3", f"--temp-dir={folder}"]
    command += ["--dashboard-host=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0"]  # 0: any free port
    command += [f"{name}={port}" for name, port in ports.items()]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert process.stdout is not None
    printed = []
    try:
        for line in process.stdout:
            printed.append(line)
            if "Ray runtime started" in line:
                break
        else:
            pytest.fail("".join(printed))
        yield Cluster(f"http://127.0.0.1:{ports['--dashboard-port']}", folder, environment)
    finally:
        stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def stop(process: subprocess.Popen[str]) -> None:
    """Stop this cluster and no other: `ray stop` would end every Ray of the machine."""
    members = psutil.Process(process.pid).children(recursive=True)
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(members, timeout=30)[1]


def test_a_submitted_night_is_published_and_read_by_others(cluster, write_config, tmp_path):
    alone = subprocess.run(
        [sys.executable, "-c", "import recsys"], cwd="/", env=cluster.environment, capture_output=True, text=True
    )
    assert "No module named 'recsys'" in alone.stderr, "the job could read this checkout instead of its upload"

    job = cluster.submit("python", "jobs/nightly.py", "--config", write_config())
    assert (job.code, job.record["status"], job.record["driver_exit_code"]) == (0, "SUCCEEDED", 0)
    assert job.answer["status"] == "published"

    # DuckDB goes by the pointer, and so does pyarrow
    warehouse = tmp_path / "warehouse"
    with duckdb.connect() as connection:
        connection.execute(
            f"SET VARIABLE night = (SELECT path FROM read_json_auto('{warehouse}/recommendations/LATEST.json'))"
        )
        lists = f"read_parquet('{warehouse}/' || getvariable('night') || '/shard-*.parquet', hive_partitioning = false)"
        users, longest, wrong = connection.execute(
            "SELECT count(*), max(size), count(*) FILTER (last != size OR NOT falling) FROM (SELECT count(*) AS size, "
            "max(rank) AS last, list(score ORDER BY rank) = list(score ORDER BY score DESC) AS falling "
            f"FROM {lists} GROUP BY user_id)"
        ).fetchall()[0]
    assert (users, longest, wrong) == (job.answer["users"], 5, 0)
    latest = json.loads((warehouse / "recommendations" / "LATEST.json").read_text())
    assert latest["run_id"] == job.answer["run_id"]
    table = ds.dataset(warehouse / latest["path"], format="parquet").to_table()
    assert table.select(RECOMMENDATIONS.names).schema.remove_metadata() == RECOMMENDATIONS
    assert pc.count_distinct(table["user_id"]).as_py() == users

    # what was uploaded is the code, without environments, caches, demo data and git's own files
    (upload,) = (cluster.folder / "session_latest" / "runtime_resources" / "working_dir_files").glob("_ray_pkg_*/")
    assert {"jobs", "recsys", "configs", "pyproject.toml"} <= {path.name for path in upload.iterdir()}
    assert not {".venv", ".git", "demo", "warehouse", ".mypy_cache"} & {path.name for path in upload.iterdir()}
    # the job itself wrote compiled functions there
    uploaded = [path for path in upload.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in uploaded) < 6_000_000


def test_a_wrong_config_fails_the_job_with_the_exit_code_of_the_job(cluster, write_config):
    job = cluster.submit("python", "jobs/nightly.py", "--config", write_config(), "--set", "recommend.top_k=0")
    assert job.record["status"] == "FAILED"
    assert job.record["driver_exit_code"] == 2
    assert job.code == 1, "ray job submit knows no other failure"
    assert job.answer["error"] == "recommend.top_k: must be ≥ 1, got 0"
