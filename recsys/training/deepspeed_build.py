"""Compiling the C++ extension that DeepSpeed loads when it starts on a CPU.

torch marks a build that is under way by a lock file. The file stays when the process is killed, and every later process
would wait for it without end. Here the processes of a machine take turns by a kernel lock, which ends with its process.
The process that has the turn may delete an old lock file, since no other build can be under way.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.cpp_extension import get_default_build_root

#: The only extension of DeepSpeed that its communication on CPUs needs.
_OPERATION = "ShareMemCommBuilder"


def load_extensions() -> None:
    """Load the extension that DeepSpeed needs on this device; compile it if no earlier process did."""
    import deepspeed  # not at the top: it chooses its accelerator when it is imported
    from deepspeed.accelerator import get_accelerator

    builder = get_accelerator().create_op_builder(_OPERATION)
    if builder is not None and deepspeed.ops.__compatible_ops__.get(builder.NAME, False):
        with turn_to_build(builder.name):
            builder.load(verbose=False)


@contextmanager
def turn_to_build(name: str) -> Iterator[None]:
    """Wait until no other process of this machine builds extensions, and delete the lock file of a killed build."""
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}.turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for mark in root.glob(f"**/{name}/lock"):
            mark.unlink(missing_ok=True)
        yield
