"""Identifies callers by their bearer keys. A keys file, which may change while the service runs, has the keys' sha256.

The variable `RECSYS_KEYS` may contain more entries in the same format. Neither keys nor hashes are logged.
"""

import base64
import hashlib
import hmac
import logging
import os
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

#: Asks a browser for a name and a password; the password is the key.
CHALLENGE = 'Basic realm="The nights. Any name, and a key of the service as the password", charset="UTF-8"'
ENVIRONMENT_VARIABLE = "RECSYS_KEYS"
#: The name of every caller where the service needs no keys.
ANYONE = "anyone"
#: Seconds between two reads of the file.
REREAD_S = 1.0
#: Shows people, and scanners for secrets in repositories, which service a key belongs to.
_PREFIX = "recsys_"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, and whether it may proceed."""

    name: str | None
    """None: no key, or an unknown key."""
    wait_s: float = 0.0
    """Seconds to wait because of the rate limit; 0: the request may proceed."""


@dataclass(frozen=True, slots=True)
class _KeySet:
    """All valid keys; never changed, only replaced."""

    entries: tuple[KeyEntry, ...]
    limits: Mapping[str, RateLimit]

    def name_of(self, token: str) -> str | None:
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        found = None
        for entry in self.entries:  # all entries, each in constant time, so that the time reveals nothing
            if hmac.compare_digest(entry.sha256, digest):
                found = entry.name
        return found


class Keys:
    """The valid keys and their rate limits. Any number of threads may use it."""

    def __init__(self, keys_file: Path | None, fixed: tuple[KeyEntry, ...] | None, clock: Callable[[], float]):
        """Use `load`. ``fixed`` are the entries of `RECSYS_KEYS`; None: the variable is not set."""
        self._file, self._fixed, self._clock = keys_file, fixed, clock
        self._limiter = RateLimiter(clock)
        self._lock = threading.Lock()  # one read at a time, so that an older content cannot replace a newer one
        self._had_file = False
        self._content: bytes | None = None  # of the file when it was last read, valid or not
        self._next_read_s = clock() + REREAD_S
        self._key_set = self._decoded(self._read())
        self.error: str | None = None
        """Why the newest content of the file is not in use; None where it is. It has the path and names of callers."""

    @classmethod
    def load(
        cls,
        keys_file: str | Path | None,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> "Keys":
        """Read the keys of the file and of `RECSYS_KEYS`; where neither is set, callers need no key.

        The file may be missing at first where the variable is set. ``clock`` gives seconds that never go back.

        Raises:
            ConfigError: the file or the variable cannot be read or is blank, or an entry is wrong or is there twice.
        """
        text = environment.get(ENVIRONMENT_VARIABLE)
        fixed = None if text is None else decode_keys(text, ENVIRONMENT_VARIABLE)
        return cls(None if keys_file is None else Path(keys_file).expanduser(), fixed, clock)

    @property
    def are_needed(self) -> bool:
        """Whether a caller needs a key."""
        return self._file is not None or self._fixed is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The callers that have a valid key."""
        return tuple(entry.name for entry in self._key_set.entries)

    def caller_of(self, token: str | None) -> str | None:
        """The name of the caller with this key; None for no key or an unknown key. It counts no request."""
        return self._name_in(self._newest(), token)

    def admit(self, token: str | None) -> Caller:
        """Find the caller and count the request."""
        key_set = self._newest()
        name = self._name_in(key_set, token)
        return Caller(name, 0.0 if name is None else self._limiter.take(name, key_set.limits))

    def refresh(self) -> bool:
        """Read the file now and replace all keys in one step; returns whether the file had changed.

        After an error the keys stay as they were. It is logged once, and `error` has it until the file is corrected.
        The whole file is read and compared each time, because a changed file may have the same time and size.
        """
        with self._lock:
            self._next_read_s = self._clock() + REREAD_S
            try:
                content = self._read()
                if content == self._content:
                    return False
                self._key_set = self._decoded(content)
            except ConfigError as error:
                before, self.error = self.error, str(error)
                if self.error != before:
                    logger.warning("the keys stay as they were: %s", self.error)
                return False
            self.error = None
            logger.info("%d keys are valid", len(self._key_set.entries))
            return True

    def _newest(self) -> _KeySet:
        """The keys; reads the file again where the last read is a second ago."""
        if self._clock() >= self._next_read_s:
            self.refresh()
        return self._key_set

    def _name_in(self, key_set: _KeySet, token: str | None) -> str | None:
        if not self.are_needed:
            return ANYONE
        return None if token is None else key_set.name_of(token)

    def _read(self) -> bytes | None:
        """The content of the file; None where there is no file and none is needed."""
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

    def _decoded(self, content: bytes | None) -> _KeySet:
        self._content = content
        entries = self._fixed or ()
        origin = f"keys file {self._file}"
        if content is not None:
            try:
                text = content.decode("utf-8-sig")
            except UnicodeDecodeError:
                raise ConfigError(f"{origin}: is not UTF-8 text; save it as UTF-8") from None
            entries += decode_keys(text, origin)
        require_distinct(entries, origin)
        return _KeySet(entries, {entry.name: entry.rate_limit for entry in entries if entry.rate_limit is not None})


def key_in(authorization: str) -> str | None:
    """The key in the header `Authorization`: a bearer token, or the password of a browser; None where there is none.

    >>> key_in("Bearer recsys_1"), key_in("Basic " + base64.b64encode(b"me:recsys_1").decode()), key_in("Basic ?")
    ('recsys_1', 'recsys_1', None)
    """
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
    except ValueError:  # no base64, no ASCII, or no UTF-8 in it
        return None


def new_key(name: str) -> tuple[str, str]:
    """A new random key, which only the caller must keep, and its line for the keys file.

    Raises:
        ConfigError: the name is not valid.
    """
    key = _PREFIX + secrets.token_urlsafe(32)
    return key, key_line(name, hashlib.sha256(key.encode()).hexdigest())
