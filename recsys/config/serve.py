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
    """File with the hashed keys of callers; null: no key asked."""
    replicas: Positive = 1
    """Processes that answer, at least."""
    max_replicas: Positive | None = None
    """Processes that answer at most, as many as the load asks for; null: always `replicas`."""
    cpus_per_replica: Positive = 1
    """CPUs that Ray sets aside for a process that answers; it ranks in one thread."""
    max_batch_size: Positive = 32
    """Requests that are ranked together."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Milliseconds that a request waits for others to be ranked with; those that came meanwhile go together anyway."""
    max_queued: Positive = 10
    """Requests for lists that a process has in hand, being ranked or waiting; more are answered with 429."""
    deadline_ms: Annotated[float, Field(ge=1)] = 1000.0
    """Milliseconds after which a request that is still being ranked is answered with what is popular."""
    refresh_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds between looks for a newer night."""

    @model_validator(mode="after")
    def _keys_or_loopback(self) -> "ServeConfig":
        if self.keys_file is None and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(f"host={self.host} is reachable from outside: set keys_file, or listen on 127.0.0.1")
        return self
