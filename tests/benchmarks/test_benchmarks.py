"""Tests the pure parts of the benchmarks: splits, judging, counting. Nothing is timed or trained here."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

HERE = Path(__file__).parent


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Import a script of the benchmarks by its file name, as the scripts import each other."""
    monkeypatch.syspath_prepend(str(HERE))

    def named(name: str) -> ModuleType:
        return importlib.import_module(name)

    return named


@pytest.mark.parametrize(
    "path", sorted(HERE.glob("[!t]*.py")) + sorted(HERE.glob("ours/*.py")), ids=lambda path: path.stem
)
def test_a_script_can_be_imported(load, monkeypatch, path):
    monkeypatch.syspath_prepend(str(path.parent))
    load(path.stem)


@pytest.fixture
def shop() -> dict[str, pd.DataFrame]:
    """Events of two customers from before the cut, and of `new`, who comes after it and buys five different items."""
    rows = [
        ("old", "a", "2011-11-01"),
        ("old", "b", "2011-11-02"),
        ("older", "b", "2011-10-01"),
        ("old", "a", "2011-11-26"),
        ("old", "c", "2011-11-27"),
        ("new", "f", "2011-11-28"),
        ("new", "a", "2011-11-25"),
        ("new", "a", "2011-11-25"),
        ("new", "b", "2011-11-25"),
        ("new", "c", "2011-11-26"),
        ("new", "d", "2011-11-26"),
    ]
    events = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    events["timestamp"] = pd.to_datetime(events.timestamp, utc=True)
    cut = pd.Timestamp("2011-11-25", tz="UTC")
    items = pd.DataFrame({"item_id": list("abcdef"), "title": list("ABCDEF")})
    return {"past": events[events.timestamp < cut], "future": events[events.timestamp >= cut], "items": items}


def pairs(frame: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(frame.user_id, frame.item_id, strict=True))


def test_known_pairs_are_no_targets(load, shop):
    cases = load("cases")
    split = cases._retail(shop["past"], shop["future"], shop["items"])
    assert pairs(split.cases["retail-new"].truth) == {("old", "c")}
    assert pairs(split.cases["retail-all"].truth) == {("old", "a"), ("old", "c")}
    assert split.events.timestamp.max() < cases.CUT


def test_cold_users_keep_their_first_items_and_the_rest_are_targets(load, shop):
    cases = load("cases")
    split = cases.cold_users(shop["past"], shop["future"], shop["items"])
    given = split.events[split.events.user_id == "new"].sort_values("timestamp")
    assert given.item_id.tolist() == ["a", "b", "c"]
    assert split.events.timestamp.max() < cases.CUT
    assert split.date == "2011-11-24"
    assert pairs(split.cases["cold-users"].truth) == {("new", "d"), ("new", "f")}


def test_earlier_cold_users_have_nothing_from_after_their_fortnight(load, shop, monkeypatch):
    cases = load("cases")
    events = pd.concat([shop["past"], shop["future"]])
    cut = pd.Timestamp("2011-11-20", tz="UTC")
    for days, expected in ((14, {("new", "d"), ("new", "f")}), (7, {("new", "d")})):
        monkeypatch.setattr(cases, "FORTNIGHT", pd.Timedelta(days=days))
        split = cases.cold_users(*cases.until(events, shop["items"], cut), cut)
        assert pairs(split.cases["cold-users-11-20"].truth) == expected
        assert split.events.timestamp.max() < cut
        before = split.events[split.events.user_id != "new"]
        assert pairs(before) == pairs(events[events.timestamp < cut])
        assert set(split.items.item_id) == set(events[events.timestamp < cut + cases.FORTNIGHT].item_id)


def test_several_cases_are_averaged_over_all_their_users(load):
    quality, judge = load("quality"), load("judge")

    def result(*values: float) -> object:
        column = np.array(values)
        return quality.Result(
            judged=[judge.Judged(ndcg=column, hitrate=column, tail_ndcg=column, coverage=0.0)], warm_ndcg=[]
        )

    cases = {
        "one": {quality.OURS: result(0.5, 0.7, 0.9), "peer": result(0.1, 0.3, 0.5), "here alone": result(1, 1, 1)},
        "other": {quality.OURS: result(0.1), "peer": result(0.3)},
    }
    table, numbers = quality.report_together(cases)
    assert numbers["ndcg@10"] == pytest.approx({quality.OURS: 0.55, "peer": 0.3})
    assert numbers["difference"]["best"] == "peer"
    assert numbers["difference"]["mean"] == pytest.approx(0.25)
    assert "one + other" in table
    assert "4 users" in table


def test_cold_items_have_no_events_and_are_the_only_targets(load, shop, monkeypatch):
    cases = load("cases")
    monkeypatch.setattr(cases, "COLD_ITEM_SHARE", 0.5)
    targets = set()
    for seed in range(20):
        split = cases.cold_items(shop["past"], shop["future"], shop["items"], seed=seed)
        truth = split.cases["cold-items"].truth
        assert not set(truth.item_id) & set(split.events.item_id)
        assert set(truth.user_id) <= set(split.events.user_id)
        assert len(split.items) == 6
        targets |= pairs(truth)
    assert targets == {("old", "c")}  # the only new purchase of a known customer


def test_the_k_core_is_filtered_until_nothing_changes(load):
    cases = load("cases")
    dense = [(f"u{user}", f"i{item}") for user in range(5) for item in range(5)]
    # i9 has five ratings until its user with four ratings is removed
    loose = [(f"u{user}", "i9") for user in range(4)] + [("lone", "i9"), ("lone", "i0"), ("lone", "i1"), ("lone", "i2")]
    events = pd.DataFrame(dense + loose, columns=["user_id", "item_id"])
    assert pairs(cases.frequent(events)) == set(dense)


def test_a_peer_reads_a_split_as_it_was_written(load, shop, tmp_path):
    cases, case_files = load("cases"), load("case_files")
    split = cases._retail(shop["past"], shop["future"], shop["items"])
    cases.write_split(split, tmp_path)
    task = case_files.read_task(tmp_path, seed=0, top_k=2, quick=False)
    assert task.user_ids[task.users].tolist() == ["older", "old", "old"]
    assert task.item_ids[task.items].tolist() == ["b", "a", "b"]
    assert task.days.tolist() == [33.0, 2.0, 1.0]  # before the end of the night's date, 2011-11-02
    case_files.write_lists(tmp_path / "lists.parquet", task, np.array([[1, 0], [2, -1]]))
    lists = pd.read_parquet(tmp_path / "lists.parquet")
    assert lists.to_numpy().tolist() == [["old", 1, "b"], ["old", 2, "a"], ["older", 1, "c"]]
    assert json.loads((tmp_path / "retail-new" / "case.json").read_text()) == {"exclude_seen": True}


def test_lists_are_averaged_over_all_users_of_the_truth(load, shop):
    judge = load("judge")
    truth = pd.DataFrame({"user_id": ["old", "old", "nobody"], "item_id": ["a", "c", "d"]})
    question = judge.Question(shop["past"], shop["items"], truth, exclude_seen=False)
    assert question.item_ids[~question.in_tail].tolist() == ["a", "b"]  # of six items, a fifth rounded up
    lists = pd.DataFrame({"user_id": "old", "rank": [1, 2], "item_id": ["b", "c"]})
    judged = question.judge(lists)
    best = 1 + 1 / np.log2(3)
    assert judged.ndcg == pytest.approx([0, (1 / np.log2(3)) / best])
    assert judged.hitrate.tolist() == [0, 1]
    assert judged.coverage == pytest.approx(2 / 6)


def test_random_ndcg_is_the_mean_of_random_lists(load, shop):
    judge = load("judge")
    items = pd.DataFrame({"item_id": [f"i{number:02d}" for number in range(40)]})
    truth = pd.DataFrame({"user_id": "u", "item_id": ["i03", "i20", "i21"]})
    seen = pd.DataFrame({"user_id": "u", "item_id": ["i00", "i01"]})
    question = judge.Question(seen, items, truth, exclude_seen=True)
    random = np.random.default_rng(0)
    values = []
    for _ in range(3000):
        drawn = random.permutation(items.item_id[2:])[:10]
        lists = pd.DataFrame({"user_id": "u", "rank": np.arange(1, 11), "item_id": drawn})
        values.append(question.judge(lists).ndcg[0])
    assert np.mean(values) == pytest.approx(question.random_ndcg(), abs=4 * np.std(values) / 3000**0.5)


@pytest.mark.parametrize("broken", ["rank", "item_id"])
def test_a_list_with_a_duplicate_is_refused(load, shop, broken):
    judge = load("judge")
    question = judge.Question(shop["past"], shop["items"], shop["future"][["user_id", "item_id"]].iloc[:1], True)
    rows = {"user_id": ["old", "old"], "rank": [1, 2], "item_id": ["c", "d"]} | {
        broken: [1, 1] if broken == "rank" else ["c", "c"]
    }
    with pytest.raises(AssertionError, match="twice"):
        question.judge(pd.DataFrame(rows))


def test_a_contestant_works_on_request_and_reports_its_time(load, tmp_path):
    speed = load("speed")
    script = tmp_path / "contestant.py"
    script.write_text(
        "import time\nfrom stopwatch import compete\n"
        "def prepare(folder):\n"
        "    print('output of a library')\n"
        "    return (lambda number: time.sleep(0.01) or 3), {'folder': folder.name}\n"
        "compete(prepare)\n"
    )
    with speed.contestant(Path(sys.executable), script, tmp_path, threads=1) as one:
        one.turn()
        one.turn()
    assert one.facts == {"folder": tmp_path.name}
    assert len(one.rates) == 2
    assert 0 < max(one.rates) <= 300
    assert one.memory_mb > 1
    assert one.process.returncode == 0


def test_anonymous_users_send_their_first_items_and_the_next_are_targets(load, shop):
    cases, cold_live = load("cases"), load("cold_live")
    split = cases.cold_users(shop["past"], shop["future"], shop["items"])
    first = cold_live.new_users(shop["past"], split.events)
    assert first == {"new": ["a", "b", "c"]}
    rest = split.cases["cold-users"].truth
    assert pairs(cold_live.next_items(first, rest, 1)) == {("new", item) for item in "bcdf"}
    assert pairs(cold_live.next_items(first, rest, 3)) == pairs(rest)


def test_best_sellers_are_of_the_last_week_without_the_given_items(load):
    cold_live = load("cold_live")
    rows = [("u", "a", 1), ("v", "a", 1), ("v", "a", 2), ("u", "b", 2), ("v", "c", 2), ("w", "c", 2), ("x", "d", 30)]
    past = pd.DataFrame(rows, columns=["user_id", "item_id", "days_ago"])
    past["timestamp"] = load("cases").CUT - pd.to_timedelta(past.days_ago, unit="D")
    lists = cold_live.popular_lists(past, {"new": ["a", "z"], "other": ["z", "a"]}, given=1)
    assert [(user, own.item_id.tolist()) for user, own in lists.groupby("user_id")] == [
        ("new", ["c", "b"]),
        ("other", ["a", "c", "b"]),
    ]


def test_a_fifth_of_the_users_is_withheld_with_all_their_ratings(load, tmp_path):
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    ratings = [f"{user}\t{film}\t5\t{100 * film}" for user in range(10) for film in (2, 1)]
    people = [f"{user}\t{20 + user}\tF\tcook\t1" for user in range(10)]
    films = ["1\tHeat\t1995\tAction", "2\tBabe\t1995\tComedy"]
    heads = {
        "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float",
        "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token",
        "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
    }
    for name, rows in (("inter", ratings), ("user", people), ("item", films)):
        (folder / f"ml-100k.{name}").write_text("\n".join([heads[name], *rows]) + "\n")
    made = load("cold_described").tables(tmp_path)
    known, gone = (set(made[name].user_id) for name in ("events", "withheld"))
    assert (len(known), len(gone), known & gone) == (8, 2, set())
    assert made["withheld"].groupby("user_id").item_id.agg(list).tolist() == [["1", "2"]] * 2
    assert set(made["users"].user_id) == known | gone


def test_the_gpu_benchmark_runs_on_a_cpu(load, tmp_path, capsys, monkeypatch):
    arguments = ["gpu.py", "--quick", "--rounds", "1", "--rows", "product,retrieve", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert load("gpu").main() == 0
    assert "torch.topk" in capsys.readouterr().out
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert len(rows) == 4
    assert all(row["per_s"] > 0 for row in rows)


def test_the_operations_of_the_decoder_are_counted(load):
    gpu = load("gpu")
    bench = gpu.Bench(device=gpu.torch.device("cpu"), rounds=1, quick=True)
    # two layers with 4 query heads and 2 key heads of size 16: 2 · (64 · 128 + 64 · 64 + 3 · 64 · 128) weights
    weights, width, tokens, pairs = 2 * (64 * 128 + 64 * 64 + 3 * 64 * 128), 2 * 64, 10 + 3, 55 + 3 * 11
    assert gpu.forward_flops(gpu.half_billion(bench), 10, 3) == 2 * (weights * tokens + 2 * width * pairs)
