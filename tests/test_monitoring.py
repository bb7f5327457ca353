"""Alert rules and dashboard: they can be loaded, and every metric that they name is one that the code exports."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.serve._private import request_ingress_metrics
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
ALERTS = ROOT / "configs" / "monitoring" / "alerts.yaml"
DASHBOARD = ROOT / "configs" / "monitoring" / "grafana.json"
#: What Prometheus makes of the name of a histogram or a counter.
SUFFIXES = ("_bucket", "_count", "_sum", "_total")
#: Each thing that can go wrong has an alert.
WANTED = {
    "RecsysNoPublish",
    "RecsysGateRefused",
    "RecsysQuarantineRate",
    "RecsysSnapshotOld",
    "RecsysSlow",
    "RecsysTooManyRequests",
}


def rules() -> list[dict[str, Any]]:
    groups = YAML(typ="safe", pure=True).load(ALERTS)["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def exported() -> set[str]:
    """Names of our metrics and of Ray Serve's metrics of HTTP requests, as the code creates them."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "recsys").rglob("*.py")]
    ours = re.findall(r'metrics\.(?:Counter|Gauge|Histogram)\(\s*"(\w+)"', "\n".join(sources))
    served = Path(request_ingress_metrics.__file__).read_text(encoding="utf-8").replace("{protocol_name}", "http")
    return {*ours, *re.findall(r'f"(serve_\w+)"', served)}


def used(expression: str) -> Iterator[str]:
    """Names of the metrics in an expression, as the code names them."""
    for name in re.findall(r"\bray_(\w+)", expression):
        suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix) and name not in exported()), "")
        yield name.removesuffix(suffix)


def test_every_metric_that_is_used_is_exported() -> None:
    expressions = [rule["expr"] for rule in rules()]
    expressions += [target["expr"] for panel in panels() for target in panel["targets"]]
    names = {name for expression in expressions for name in used(expression)}
    assert names <= exported()
    ours = {name for name in exported() if name.startswith("recsys_")}
    assert len(ours) > 10
    assert ours <= names, "a metric that no panel shows"


def test_there_is_an_alert_for_each_thing_that_goes_wrong() -> None:
    assert {rule["alert"] for rule in rules()} >= WANTED
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_panels_say_what_they_show_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert max(x for x, _ in taken) == 23


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian's package prometheus)")
@pytest.mark.parametrize("command", [("check", "rules", str(ALERTS)), ("test", "rules", "tests/alerts_test.yaml")])
def test_promtool_finds_no_fault(command: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
