"""Build the profiles of users: one text for each user, from the latest value of each column."""

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.quarantine import Reason
from recsys.data.config import UsersInput
from recsys.data.values.large_texts import small_slices
from recsys.data.values.templates import filled_template, template_columns
from recsys.data.values.texts import clean_text
from recsys.data.versions import VersionSpec
from recsys.schema import PROFILE, PROFILES

_TEXT_KEY = "inputs.users.text"


def user_version_spec(spec: UsersInput) -> VersionSpec:
    """Which columns the profiles need from the rows of the users.

    Raises:
        ConfigError: `text` is not a template.
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
    """PROFILES of merged versions, sorted by user_id, without the users whose text would be empty.

    Text is NFC, without control characters, with single blanks, and cut to `max_text_chars`.
    """
    return pa.concat_tables(_build_slice(part, spec) for part in small_slices(merged))


def _build_slice(merged: pa.Table, spec: UsersInput) -> pa.Table:
    values = {column: clean_text(merged[f"value:{column}"]) for column in user_version_spec(spec).columns}
    texts = filled_template(spec.text, _TEXT_KEY, values, merged.num_rows, spec.max_text_chars)
    profiles = pa.table([merged["user_id"], texts], schema=PROFILES)
    return profiles.filter(pc.not_equal(profiles["profile"], ""))


def with_profiles(histories: pa.Table, profiles: pa.Table) -> pa.Table:
    """HISTORIES with the column `profile`, which is "" for a user without a profile."""
    rows = pc.index_in(histories["user_id"], value_set=profiles["user_id"].combine_chunks())
    known = profiles["profile"].combine_chunks().take(rows.combine_chunks())
    return histories.append_column(PROFILE, pc.fill_null(known, ""))
