"""Files of feedback as their writers leave them, and the events that a night reads in them."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from recsys.data.events.feedback import FEEDBACK_COLUMNS, FEEDBACK_DIR
from recsys.data.events.feedback_names import stored_day
from recsys.pipeline.inputs.input_list import InputList, feedback_input, present_files, take_inputs
from recsys.pipeline.inputs.input_parts import plan_parts, read_part
from recsys.settings import Config, decode_config
from recsys.storage.filesystem import Storage

DAY = dt.date(2026, 11, 20)


def at(day: int, hour: float = 0) -> dt.datetime:
    """Hours after the begin of the day that is so many days after DAY."""
    return dt.datetime.combine(DAY, dt.time(), dt.UTC) + dt.timedelta(days=day, hours=hour)


def make_config(root: str, folder: Path, **inputs: object) -> Config:
    """Settings of a night that has feedback alone."""
    folder.mkdir(exist_ok=True)
    (folder / "items.csv").write_text("item_id,title\ni,Lamp\nj,Vase\n")
    items = {"path": str(folder / "items.csv"), "format": "csv", "text": "{title}"}
    return decode_config({"storage": root, "date": f"{DAY}", "inputs": {"items": items, **inputs}})


def line(number: int, event_id: str | None = None, item_id: str = "i", day: int = 0) -> str:
    """An event without an id, which nobody can recognise if it is read twice; its number is the user's."""
    row = (event_id, f"u{number}", item_id, at(day, 1).isoformat(), "click", 1.0, "")
    return json.dumps(dict(zip(FEEDBACK_COLUMNS, row, strict=True))) + "\n"


def stored_name(number: int, day: int = 0, writer: str = "w") -> str:
    """Name of a file that a writer began so many seconds after a day began."""
    begun = at(day) + dt.timedelta(seconds=number)
    name = f"{begun:%Y%m%dT%H%M%SZ}-{writer}-{0:012x}-{number:06d}.jsonl"
    assert stored_day(name) is not None
    return name


def store(storage: Storage, name: str, *lines: str) -> None:
    """Write a file of feedback."""
    storage.write_bytes(f"{FEEDBACK_DIR}/{name}", "".join(lines).encode())


def list_inputs(config: Config, day: int = 0) -> InputList:
    """What the first start of the night of a day finds."""
    return take_inputs(config, DAY + dt.timedelta(days=day))


def read_users(config: Config, inputs: InputList) -> list[str]:
    """The user of each event of a list, in the order in which they are read now."""
    source = feedback_input(config)
    tasks = plan_parts(source, present_files(config, "feedback", inputs["feedback"]))
    chunks = [rows for task in tasks.values() for _, rows, _ in read_part(source, task)]
    return [user for rows in chunks if rows.num_columns for user in rows["user_id"].to_pylist()]


def assert_once(config: Config, numbers: Sequence[int], day: int = 0) -> None:
    """A night that begins now reads each event once."""
    expected = Counter(f"u{number}" for number in numbers)
    assert Counter(read_users(config, list_inputs(config, day))) == expected
