"""Whether this machine can run a night: versions, compiler, GPU, Ray."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import ray
from packaging.requirements import Requirement

from recsys.pipeline.doctor.diagnosis import Diagnosis, diagnose
from recsys.pipeline.workers.cluster import cluster
from recsys.pipeline.workers.cpu_needs import min_cpus
from recsys.settings import Config
from recsys.storage.package_versions import package_versions

_COMPILERS = ("c++", "g++", "clang++")


def diagnose_machine(config: Config) -> list[Diagnosis]:
    """The checks of the machine, for a night of this config."""
    return [
        diagnose("versions", _versions, "run `make install`"),
        diagnose("compiler", lambda: _compiler(config), "install a C++ compiler, such as Debian's package g++"),
        diagnose("GPU", lambda: _gpu(config), "install PyTorch for this machine"),
        diagnose("Ray", lambda: _ray(config), "end other work on this machine, or name a Ray that runs by RAY_ADDRESS"),
    ]


def _versions() -> Diagnosis:
    """Whether the installed packages are those that this package asks for."""
    shown = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    try:
        wanted = [Requirement(each) for each in importlib.metadata.requires("recsys") or []]
    except importlib.metadata.PackageNotFoundError:
        return Diagnosis(check="versions", ok=True, found=f"{shown}; recsys is not installed, so none was compared")
    wrong = [fault for each in wanted if each.marker is None and (fault := _fault(each))]
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        wrong.insert(0, f"Python is {platform.python_version()}, not 3.11 or 3.12")
    if wrong:
        return Diagnosis(check="versions", ok=False, found="; ".join(wrong), way_out="run `make install`")
    return Diagnosis(check="versions", ok=True, found=shown)


def _fault(wanted: Requirement) -> str:
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{wanted.name} is not installed"
    if wanted.specifier.contains(version, prereleases=True):
        return ""
    return f"{wanted.name} is {version}, not {wanted.specifier}"


def _compiler(config: Config) -> Diagnosis:
    """Whether a program can be compiled. DeepSpeed builds an extension on CPUs when it starts."""
    if not config.train.uses_deepspeed:
        return Diagnosis(check="compiler", ok=True, found="not needed: the training runs without DeepSpeed")
    named = [os.environ.get("CXX", ""), *_COMPILERS]
    compiler = next((path for name in named if name and (path := shutil.which(name))), None)
    lacking = [name for name, path in {"C++ compiler": compiler, "ninja": shutil.which("ninja")}.items() if not path]
    if compiler is None or lacking:
        way_out = "install g++, and put the folder of ninja on the PATH (.venv/bin has it), or set train.engine: torch"
        return Diagnosis(
            check="compiler", ok=False, found=f"no {' and no '.join(lacking)} on the PATH", way_out=way_out
        )
    with TemporaryDirectory() as folder:
        source = Path(folder) / "program.cpp"
        source.write_text("#include <vector>\nint main() { return std::vector<int>{0}[0]; }\n")
        command = [compiler, str(source), "-o", f"{folder}/program"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 (ours)
    if done.returncode:
        return Diagnosis(
            check="compiler",
            ok=False,
            found=f"{compiler} does not compile: {done.stderr.strip().partition(chr(10))[0]}",
            way_out="install the headers of C++ too, such as Debian's package g++",
        )
    return Diagnosis(check="compiler", ok=True, found=f"{compiler} and ninja compile the extension of DeepSpeed")


def _gpu(config: Config) -> Diagnosis:
    import torch

    wanting = [name for name in ("encoder", "train", "recommend") if getattr(config, name).use_gpu]
    number = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(
        f"{torch.cuda.get_device_name(each)} ({torch.cuda.get_device_properties(each).total_memory / 2**30:.0f} GiB)"
        for each in range(number)
    )
    if not wanting:
        return Diagnosis(check="GPU", ok=True, found=f"not asked for; here: {names or 'none'}")
    keys = ", ".join(f"{name}.use_gpu" for name in wanting)
    if number or os.environ.get("RAY_ADDRESS"):
        where = names or "none on this machine; the Ray that it joins must have one"
        return Diagnosis(check="GPU", ok=True, found=f"{keys}: {where}")
    way_out = f"set {keys} to false, or name a Ray with GPUs by RAY_ADDRESS"
    return Diagnosis(
        check="GPU", ok=False, found=f"{keys} is set, and PyTorch {torch.__version__} finds none", way_out=way_out
    )


def _ray(config: Config) -> Diagnosis:
    """Whether Ray starts, or answers, and runs a task."""
    with cluster(min_cpus(config)):
        version = ray.get(ray.remote(platform.python_version).options(num_cpus=1).remote())
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    joined = f"joined {os.environ['RAY_ADDRESS']}" if os.environ.get("RAY_ADDRESS") else "started on this machine"
    size = f"{resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
    if version != platform.python_version():
        found = f"its workers run Python {version}, the command runs {platform.python_version()}"
        return Diagnosis(check="Ray", ok=False, found=found, way_out="use one version of Python on all machines")
    return Diagnosis(check="Ray", ok=True, found=f"{ray.__version__} {joined} and ran a task: {size}")
