"""The settings of the live service."""

from typing import Annotated

from pydantic import Field, model_validator

from recsys.config.section import Positive, Section


class ServeConfig(Section):
    """The live service."""

    host: str = "127.0.0.1"
    """Address to listen on; without `keys_file` only loopback is allowed."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """TCP port."""
    keys_file: str | None = None
    """File with the hashed keys of callers; null: callers need no key."""
    replicas: Positive = 1
    """Replicas: processes that answer; with `max_replicas` the least number."""
    max_replicas: Positive | None = None
    """The most replicas; their number follows the load. null: always `replicas`."""
    cpus_per_replica: Positive = 1
    """CPUs that Ray reserves for a replica, which ranks in one thread."""
    max_batch_size: Positive = 32
    """The most requests that are ranked together."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Milliseconds to wait for more requests before a batch is ranked. 0 is best for most: requests that arrive while
    a batch is ranked form the next batch."""
    max_queued: Positive = 10
    """The most requests for lists that wait or are ranked in a replica; more requests get 429."""
    deadline_ms: Annotated[float, Field(ge=1)] = 1000.0
    """Milliseconds after which a request that is not ranked yet gets its user's published list, else popular items."""
    understand_queries: bool = True
    """Whether a search is read by rules, in English: what follows "no", "without" or "not" is excluded, and so are
    items of another price, where `price` is set. Else a search is only a text, in which "no glass" is near to glass."""
    price: Annotated[str, Field(min_length=1)] | None = None
    """Attribute of the items that holds their price, e.g. `price`, for searches such as "under 20" or "cheap"; null:
    prices in a search are not understood."""
    refresh_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds between two checks for a newer published run."""
    feedback_interval_s: Annotated[float, Field(ge=0, le=60)] = 1.0
    """Least seconds between two objects of feedback that a replica writes to S3. Events wait for as long and are
    acknowledged when they are stored. 0: no waiting. Local files are appended to at once."""

    @model_validator(mode="after")
    def _keys_or_loopback(self) -> "ServeConfig":
        if self.keys_file is None and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(f"host={self.host} is reachable from outside: set keys_file, or listen on 127.0.0.1")
        return self
