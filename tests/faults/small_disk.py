"""The disk of the storage is full, read-only, or not this user's: the night says so, and goes on once it is mended."""

import contextlib
import ctypes
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.faults.checks import check_output, check_published
from tests.faults.findings import LostError, TracebackError
from tests.faults.night import Night
from tests.faults.shop import Attempt, Shop

#: A disk that is large enough.
_LARGE = "256m"
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION = 0x20080522


@cache
def no_mounts() -> str:
    """Why this process cannot mount a disk of its own; empty where it can."""
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            subprocess.run(["umount", folder], check=True)
    return tried.stderr.strip()


def fill_the_disk(shop: Shop, number: int) -> None:
    """The disk is full at a random point of the night; the next start, with room, finishes it."""
    growth = _used(shop.undisturbed.root) - _used(shop.night_before.root)
    room = int(growth * random.Random(number).uniform(0.02, 0.98))  # noqa: S311 (no secret)
    with _on_disk(shop, f"full-{number}") as attempt:
        _remount(attempt, f"size={_used(attempt.root, blocks=True) + room}")
        night = attempt.inline("--set", "check_free_space=false")
        check_output(night, 1)
        check_message(night, "no space is left", str(attempt.root))
        _check_as_before(shop, attempt)
        _remount(attempt, f"size={_LARGE}")
        check_output(attempt.inline(), 0)
        check_published(attempt.root, expected=shop.expected)


def write_nothing(shop: Shop, number: int) -> None:
    """The disk is read-only (odd numbers), or the folders are not this user's (even numbers)."""
    with _on_disk(shop, f"denied-{number}") as attempt:
        if number % 2:
            _remount(attempt, "ro")
            night = attempt.inline()
        else:
            # number 2: all folders; 4: those of models, so that the night ends in the midst
            top = attempt.root if number == 2 else attempt.root / "models"
            folders = [top, *(path for path in top.rglob("*") if path.is_dir())]
            for folder in folders:
                folder.chmod(0o555)
            night = attempt.inline(setups=[obey_modes])
        check_output(night, 2)
        check_message(night, "read-only" if number % 2 else "Permission denied", str(attempt.root))
        _check_as_before(shop, attempt)
        _remount(attempt, "rw")
        for folder in (attempt.root, *(path for path in attempt.root.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        check_output(attempt.inline(), 0)
        check_published(attempt.root, expected=shop.expected)


def obey_modes() -> None:
    """Let this process obey the modes of files, also where it is root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, of capabilities 0–31 and 32–63
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~(1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH)
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def check_message(night: Night, *words: str) -> None:
    """The error of a night says all of these words."""
    error = night.answer()["error"]
    if missing := [each for each in words if each not in error]:
        raise TracebackError(f"the error does not say {missing}: {error}")


def _check_as_before(shop: Shop, attempt: Attempt) -> None:
    """Yesterday's night is published as it was, and no file is half there."""
    latest = check_published(attempt.root)
    if latest.run_date == shop.today:
        raise LostError(f"{attempt.root}: a night that failed is published")
    if partial := [path for path in attempt.root.rglob("*.partial") if not path.name.endswith(".lock.partial")]:
        raise LostError(f"{attempt.root}: {partial[0]} is left")


@contextlib.contextmanager
def _on_disk(shop: Shop, name: str) -> Iterator[Attempt]:
    """An attempt whose storage, with yesterday's night, is on a disk of its own, in memory."""
    attempt = shop.attempt(name)
    attempt.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_LARGE}", "tmpfs", str(attempt.root)], check=True)
    try:
        shutil.copytree(shop.night_before.root, attempt.root, dirs_exist_ok=True)
        yield attempt
    finally:
        attempt.end()
        subprocess.run(["umount", "--lazy", str(attempt.root)], check=True)


def _remount(attempt: Attempt, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(attempt.root)], check=True)


def _used(root: Path, *, blocks: bool = False) -> int:
    """Bytes of a storage: of its disk, or of its files."""
    if blocks:
        found = os.statvfs(root)
        return (found.f_blocks - found.f_bfree) * found.f_frsize
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in root.rglob("*") if path.is_file())
