"""The stage `users`: from the users' input to PROFILES in the shards of the histories."""

import numpy as np
import pyarrow as pa

from recsys.data.histories import shard_name, shard_of
from recsys.data.profile_table import build_profiles, user_version_spec
from recsys.pipeline.input_records import IngestedUsers
from recsys.pipeline.inputs.described_input import read_described
from recsys.pipeline.run import Run
from recsys.schema import PROFILES
from recsys.storage.tables import write_table


def ingest_users(run: Run) -> IngestedUsers:
    """Read every version of every user, keep the newest values, and write the users' texts by shard.

    Raises:
        InputError: no user can be used, or too many rows are bad.
    """
    spec = run.config.inputs.users
    assert spec is not None, "the stage applies only to configs with inputs.users"
    versions, counts = read_described(run, user_version_spec(spec), "users")
    profiles = build_profiles(versions, spec)
    shard = shard_of(profiles["user_id"], run.config.histories.shards)
    for number in np.unique(shard):
        path = f"{run.profiles_dir}/{shard_name(number)}.parquet"
        write_table(run.storage, path, profiles.filter(pa.array(shard == number)), PROFILES)
    return IngestedUsers(**vars(counts), users=len(profiles), path=run.profiles_dir)
