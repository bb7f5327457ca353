import json
import sys
from pathlib import Path

import pytest

from jobs import demo
from jobs.command import parser
from jobs.show import main
from recsys.storage.tables import iter_batches


@pytest.fixture
def config(warehouse: Path, tmp_path: Path) -> str:
    return written(tmp_path, str(warehouse))


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def written(folder: Path, storage: str) -> str:
    path = folder / "config.yaml"
    inputs = {"events": {"path": "x"}, "items": {"path": "y", "text": "{title}"}}
    path.write_text(json.dumps({"storage": storage, "inputs": inputs}), encoding="utf-8")
    return str(path)


def test_named_users_are_shown_with_titles_and_places(
    config: str, warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", config, " u00007\u200b", "u00003"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("user u0000") == 2
    assert "Oak [Desk] Lamp" in shown, "brackets in a title are text"
    assert "Copper Vase" in shown
    assert shown.count("in line with your history") == 4
    assert f"{warehouse}/recommendations/run_date=2026-11-22/run_id=2026-11-22-0123456789ab/shard-*.parquet" in shown
    assert f"{warehouse}/runs/2026-11-22-0123456789ab/metrics.json" in shown
    assert "20 users, 40 rows in 3 files" in shown


@pytest.mark.parametrize("num_users", [1, 3, 20, 50])
def test_without_names_the_first_users_are_shown(
    config: str, num_users: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", config, "--users", str(num_users)]) == 0
    assert capsys.readouterr().out.count("user u000") == min(num_users, 20)


def test_only_the_shards_of_the_named_users_are_read(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = []

    def counted(storage: object, path: str, *args: object) -> object:
        read.append(path.rpartition("/")[2])
        return iter_batches(storage, path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr("jobs.show.iter_batches", counted)
    assert main(["--config", config, "u00007"]) == 0
    assert len(read) == 1, read
    assert "u00007" in capsys.readouterr().out


def test_a_user_without_a_list_is_named(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", config, "u00007", "nobody"]) == 3
    captured = capsys.readouterr()
    assert captured.err.startswith("error: user 'nobody': nothing is known in run 2026-11-22-0123456789ab")
    assert captured.out == ""


def test_an_id_that_looks_like_an_option_names_the_way_out(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--config", config, "-abc"])
    assert caught.value.code == 2
    assert "write -- before ids that begin with -" in capsys.readouterr().err


def test_a_job_without_ids_does_not_speak_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser("Some job.", force="again").parse_args(["--config", "a.yaml", "--frce"])
    assert capsys.readouterr().err.endswith("error: unrecognized arguments: --frce\n")


def test_where_nothing_is_published_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", written(tmp_path, str(tmp_path / "empty"))]) == 3
    assert "nothing is published there yet; run jobs/nightly.py" in capsys.readouterr().err


def test_a_wrong_config_or_option_is_exit_code_2(tmp_path: Path) -> None:
    assert main(["--config", str(tmp_path / "nothing.yaml")]) == 2
    for wrong in (["--users", "0"], ["--users", "many"], [""], ["\udcff"], []):
        with pytest.raises(SystemExit) as caught:
            main([*wrong] if not wrong else ["--config", "x", *wrong])
        assert caught.value.code == 2


def test_an_overridden_storage_is_the_one_that_is_shown(
    warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path, str(tmp_path / "empty"))
    assert main(["--config", config, "--set", f"storage={warehouse}", "u00007"]) == 0
    assert "user u00007" in capsys.readouterr().out


def test_the_demo_shows_the_storage_of_its_night_and_fails_as_show_does(
    warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo" / "data" / "events").mkdir(parents=True)  # so that no shop is made
    monkeypatch.setattr(demo, "nightly", lambda *_: {"status": "published"})  # its lists are those of `warehouse`
    assert demo_code(monkeypatch, f"storage={warehouse}") == 0
    assert capsys.readouterr().out.count("user u000") == 3
    assert demo_code(monkeypatch, f"storage={tmp_path}/empty") == 3
    assert "nothing is published there yet" in capsys.readouterr().out.splitlines()[-1]


def demo_code(monkeypatch: pytest.MonkeyPatch, override: str) -> int:
    monkeypatch.setattr(sys, "argv", ["demo", "--set", override])
    return demo.main()
