"""What users are, as text: one profile a user out of the latest values of its columns; it knows no files."""

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.config import UsersInput
from recsys.data.quarantine import Reason
from recsys.data.texts import clean_text, filled_template, template_columns
from recsys.data.versions import VersionSpec
from recsys.schema import PROFILE, PROFILES

_TEXT_KEY = "inputs.users.text"


def user_version_spec(spec: UsersInput) -> VersionSpec:
    """What the profiles need of the users' rows.

    Raises:
        ConfigError: `text` is no template.
    """
    return VersionSpec(
        key="inputs.users",
        source=spec,
        id_name="user_id",
        id_column=spec.columns.user_id,
        missing=Reason.MISSING_USER,
        timestamp=spec.columns.timestamp,
        values={_TEXT_KEY: template_columns(spec.text, _TEXT_KEY)},
    )


def build_profiles(merged: pa.Table, spec: UsersInput) -> pa.Table:
    """PROFILES of merged versions, sorted by user_id; without the users of whom nothing is said.

    Text is NFC, without control characters, with single blanks, and cut to `max_text_chars`.
    """
    merged = merged.sort_by("user_id")
    values = {column: clean_text(merged[f"value:{column}"]) for column in user_version_spec(spec).columns}
    texts = filled_template(spec.text, _TEXT_KEY, values, merged.num_rows, spec.max_text_chars)
    profiles = pa.table([merged["user_id"], texts], schema=PROFILES)
    return profiles.filter(pc.not_equal(profiles["profile"], ""))


def with_profiles(histories: pa.Table, profiles: pa.Table) -> pa.Table:
    """HISTORIES with the column `profile`; "" for a user who has none."""
    rows = pc.index_in(histories["user_id"], value_set=profiles["user_id"].combine_chunks())
    known = profiles["profile"].combine_chunks().take(rows.combine_chunks())
    return histories.append_column(PROFILE, pc.fill_null(known, ""))
