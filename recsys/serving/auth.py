"""Who asks: bearer keys, known by their sha256 only, from a file that may change while the service runs.

`RECSYS_KEYS` may hold the same as the file. It knows no HTTP but the header's value, and logs neither keys nor hashes.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from recsys.errors import ConfigError
from recsys.serving.key_file import MAKE_ONE, KeyEntry, decode_keys, key_line, require_distinct
from recsys.serving.rate_limit import RateLimit, RateLimiter

logger = logging.getLogger(__name__)

ENVIRONMENT_VARIABLE = "RECSYS_KEYS"
#: Name of every caller where no key is asked.
ANYONE = "anyone"
#: Seconds between looks at the file.
LOOK_S = 1.0
#: Tells people, and scanners of repositories, what a key is of.
_PREFIX = "recsys_"
#: RFC 6750: one blank, then the token's letters and nothing else.
_BEARER = re.compile(r"(?i:bearer) ([A-Za-z0-9._~+/-]+=*)")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and whether now."""

    name: str | None
    """None: no key, or an unknown one."""
    wait_s: float = 0.0
    """Seconds after which it may ask again; 0: it may now."""


@dataclass(frozen=True, slots=True)
class _Ring:
    """All keys of one moment."""

    entries: tuple[KeyEntry, ...]
    limits: Mapping[str, RateLimit]

    def name_of(self, token: str) -> str | None:
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        found = None
        for entry in self.entries:  # all of them, each in constant time: how long it takes tells nothing
            if hmac.compare_digest(entry.sha256, digest):
                found = entry.name
        return found


class Keys:
    """The keys that are valid now, and how often each may ask."""

    def __init__(self, keys_file: Path | None, fixed: tuple[KeyEntry, ...] | None, clock: Callable[[], float]):
        """Use `load`. ``fixed`` are the entries of the environment; None: it names none."""
        self._file, self._fixed, self._clock = keys_file, fixed, clock
        self._limiter = RateLimiter(clock)
        self._lock = threading.Lock()  # one look at a time, so that an old one cannot end after a newer one
        self._had_file = False
        self._content: bytes | None = None  # of the file when last read, good or bad
        self._next_look = clock() + LOOK_S
        self._ring = self._decoded(self._read())
        self.fault: str | None = None
        """Why the file's newest content is not in use; None where it is. Holds its path and names of callers."""

    @classmethod
    def load(
        cls,
        keys_file: str | Path | None,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> "Keys":
        """Read the keys of the file and those of `RECSYS_KEYS`; where neither is set, no key is asked.

        The file may be missing at first where the variable is set. ``clock`` tells seconds and never runs back.

        Raises:
            ConfigError: a source cannot be read or is blank, or an entry is wrong or comes twice.
        """
        text = environment.get(ENVIRONMENT_VARIABLE)
        fixed = None if text is None else decode_keys(text, ENVIRONMENT_VARIABLE)
        return cls(None if keys_file is None else Path(keys_file).expanduser(), fixed, clock)

    @property
    def asked(self) -> bool:
        """Whether a caller needs a key."""
        return self._file is not None or self._fixed is not None

    @property
    def names(self) -> tuple[str, ...]:
        """Callers with a valid key."""
        return tuple(entry.name for entry in self._ring.entries)

    def caller_of(self, token: str | None) -> str | None:
        """Name of the caller with this key; None for no key or an unknown one. It counts nothing."""
        return self._name_in(self._ring, token)

    def admit(self, token: str | None) -> Caller:
        """Name the caller and count the request; looks at the file where that is due."""
        if self._clock() >= self._next_look:
            self.refresh()
        ring = self._ring
        name = self._name_in(ring, token)
        return Caller(name, 0.0 if name is None else self._limiter.take(name, ring.limits))

    def refresh(self) -> bool:
        """Look at the file now and take new content in one step; answers whether there was some.

        What cannot be used leaves the keys as they are; the log is told once, and `fault` says so until it is mended.
        The small file is read as a whole each time: unlike its time and size, its bytes tell every change.
        """
        with self._lock:
            self._next_look = self._clock() + LOOK_S
            try:
                content = self._read()
                if content == self._content:
                    return False
                self._ring = self._decoded(content)
            except ConfigError as error:
                told, self.fault = self.fault, str(error)
                if self.fault != told:
                    logger.warning("the keys stay as they were: %s", self.fault)
                return False
            self.fault = None
            logger.info("%d keys are valid", len(self._ring.entries))
            return True

    def _name_in(self, ring: _Ring, token: str | None) -> str | None:
        if not self.asked:
            return ANYONE
        return None if token is None else ring.name_of(token)

    def _read(self) -> bytes | None:
        """The file's content; None where there is none and need be none."""
        if self._file is None:
            return None
        try:
            content = self._file.read_bytes()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and self._fixed is not None and not self._had_file:
                return None
            self._content = None
            raise ConfigError(
                f"keys file {self._file}: cannot be read: {error.strerror}; put a readable file there, {MAKE_ONE}"
            ) from None
        self._had_file = True
        return content

    def _decoded(self, content: bytes | None) -> _Ring:
        self._content = content
        entries = self._fixed or ()
        origin = f"keys file {self._file}"
        if content is not None:
            try:
                text = content.decode("utf-8-sig")
            except UnicodeDecodeError:
                raise ConfigError(f"{origin}: is not UTF-8 text; save it as such") from None
            entries += decode_keys(text, origin)
        require_distinct(entries, origin)
        return _Ring(entries, {entry.name: entry.rate_limit for entry in entries if entry.rate_limit is not None})


def bearer_token(header: str | None) -> str | None:
    """The token of an `Authorization: Bearer …` header; None where it is missing, malformed or of another scheme."""
    found = _BEARER.fullmatch(header or "")
    return found[1] if found else None


def new_key(name: str) -> tuple[str, str]:
    """A new key, to be given to the caller and kept nowhere else, and its line for the keys file.

    Raises:
        ConfigError: the name cannot be one.
    """
    key = _PREFIX + secrets.token_urlsafe(32)
    return key, key_line(name, hashlib.sha256(key.encode()).hexdigest())
