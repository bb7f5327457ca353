"""What DeepSpeed compiles when it starts; it knows no model.

torch marks a build by a file, which stays when its process is killed, and then everybody after waits for it for ever.
So whoever builds takes turns by a lock of the kernel's, which ends with its process, and whoever has the turn may take
a mark away: nobody is behind it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.cpp_extension import get_default_build_root

#: Of DeepSpeed's operations, the one that its communication on CPUs needs.
_OPERATION = "ShareMemCommBuilder"


def load_extensions() -> None:
    """Compile and load what DeepSpeed needs on this device, or load what was compiled before."""
    import deepspeed  # not at the top: it chooses its accelerator when it is imported
    from deepspeed.accelerator import get_accelerator

    builder = get_accelerator().create_op_builder(_OPERATION)
    if builder is not None and deepspeed.ops.__compatible_ops__.get(builder.NAME, False):
        with turn_to_build(builder.name):
            builder.load(verbose=False)


@contextmanager
def turn_to_build(name: str) -> Iterator[None]:
    """Wait for the turn to build an extension on this machine, and take away the mark of one that was cut off."""
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}.turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for mark in root.glob(f"**/{name}/lock"):
            mark.unlink(missing_ok=True)
        yield
