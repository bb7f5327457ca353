"""Lists in the pages that must be what the code says."""

import gzip
import json
import re
import tomllib
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from recsys.data.checks.where_syntax import FUNCTIONS
from recsys.evaluation.list_checks import CHECKS
from recsys.pipeline.measuring.gate_summary import QUALITY
from recsys.signals.registry import SIGNALS
from tests.docs.pages import PAGES, ROOT, prose


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_the_page_about_filters_names_every_function() -> None:
    rows = re.findall(r"^\| (`.*) \| (?:functions|tests|values)", page("your-data.md"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert named - {"coalesce", "cast"} == FUNCTIONS - {
        "startswith"
    }  # `coalesce` is an operator; `startswith` is an alias


def test_several_tables_become_one_by_the_sql_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("orders.csv").write_text("order_id,user_id,at\n1,u1,2026-11-20\n")
    Path("order_lines.csv").write_text("order_id,sku\n1,a\n1,b\n")
    Path("properties.csv").write_text(
        "timestamp,item_id,property,value\n1,a,title,Old\n2,a,title,Lamp\n1,a,color,red\n"
    )
    Path("sessions.jsonl").write_text('{"session":7,"events":[{"aid":1,"ts":5},{"aid":2,"ts":6}]}\n')
    Path("orders_export.csv").write_text("Name,Cancelled at\n#1,\n#1,\n#2,2026-11-20\n#2,\n")
    Path("ga4").mkdir()
    rows = [{"event_timestamp": "1", "event_name": "view_item", "user_pseudo_id": "1.2", "items": [{"item_id": "a"}]}]
    rows += [rows[0] | {"event_name": "view_item_list"}, rows[0] | {"event_name": "page_view", "items": []}]
    with gzip.open("ga4/events_20261120-000000000000.json.gz", "wt") as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in rows))
    with duckdb.connect() as connection:
        for statement in re.findall(r"`(COPY .*)`", page("your-data.md")):
            connection.execute(statement)
    assert pq.read_table("events.parquet").select(["user_id", "sku"]).sort_by("sku").to_pylist() == [
        {"user_id": "u1", "sku": "a"},
        {"user_id": "u1", "sku": "b"},
    ]
    assert pq.read_table("clicks.parquet").sort_by("aid").to_pylist() == [
        {"session": 7, "aid": 1, "ts": 5},
        {"session": 7, "aid": 2, "ts": 6},
    ]
    assert Path("paid.csv").read_text() == 'Name,Cancelled at\n"#1",\n"#1",\n'
    assert pq.read_table("ga4.parquet").to_pylist() == [
        {"event_timestamp": "1", "event_name": "view_item", "user_pseudo_id": "1.2", "item_id": "a"}
    ]
    assert pq.read_table("items.parquet").to_pylist() == [{"item_id": "a", "color": "red", "title": "Lamp"}]


def test_pages_name_no_key_that_the_config_does_not_have() -> None:
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \|", page("reference/config.md"), re.MULTILINE)
    keys = {row.rsplit(".", depth)[0] for row in rows for depth in range(row.count(".") + 1)}
    sections = {key.partition(".")[0] for key in keys}
    named = {key for each in PAGES for key in re.findall(r"`([a-z_]+(?:\.[a-z0-9_]+)+)(?:[:=] ?[^`]*)?`", prose(each))}
    of_config = {key for key in named if key.partition(".")[0] in sections}
    assert len(of_config) > 200
    assert of_config - keys <= {"gate.overridden"}  # a figure of the stage `gate`


def test_the_page_about_the_service_names_every_metric() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "recsys" / "serving").glob("*.py"))
    made = set(re.findall(r"metrics\.(?:Counter|Gauge|Histogram)\(\s*\"(\w+)\"", code))
    assert len(made) >= 5
    assert set(re.findall(r"`ray_(recsys_\w+)`", page("live-service.md"))) == made


def test_the_page_about_operations_names_every_metric_of_jobs() -> None:
    code = (ROOT / "recsys" / "pipeline" / "workers" / "job_metrics.py").read_text(encoding="utf-8")
    made = set(re.findall(r"metrics\.Gauge\(\s*\"(\w+)\"", code))
    assert len(made) >= 9
    assert set(re.findall(r"`ray_(recsys_\w+)`", page("operations.md"))) == made


def test_the_page_about_the_code_names_every_library() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[\[<>=~]", requirement)[0] for requirement in project["dependencies"]}
    table = page("how-it-works.md").partition("## Libraries")[2]
    named = {
        name for row in re.findall(r"^\| ([a-z].*?) \|", table, re.MULTILINE) for name in re.findall(r"[\w.-]+", row)
    }
    assert needed <= named
    assert named - needed <= {"library", "fastapi"}


def test_the_excerpt_of_the_readme_is_of_one_run_and_of_known_sources() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    excerpt = re.findall(r"<!-- demo excerpt: begin.*?-->(.*?)<!-- demo excerpt: end -->", readme, re.DOTALL)[0]
    assert len(set(re.findall(r"2026-11-22-[0-9a-f]{12}", readme))) == 1
    sources = {row.split("│")[5].strip() for row in excerpt.splitlines() if row.startswith("│")} - {""}
    assert sources
    assert sources <= {*SIGNALS.names, "exploration"}


def test_the_page_about_operations_names_every_gate_and_its_limit() -> None:
    rows = re.findall(r"^\| `([a-z ]+)` \|.*\| `([a-z._]+)`(?:, `[a-z._]+`)* \|$", page("operations.md"), re.MULTILINE)
    assert {(check.name, check.threshold) for check in CHECKS} | {(QUALITY, "gate.tolerance")} == set(rows)
