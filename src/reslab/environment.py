"""What a number depends on besides the code: versions, processor, memory, commit. Importing this module imports no
torch.
"""

import functools
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reslab.errors import ReslabError

__all__ = [
    "available_cores",
    "cxx_compiler",
    "describe_environment",
    "describe_machine",
    "parse_size",
    "resident_bytes",
]

_UNITS = {"K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(i?B)?\s*", re.IGNORECASE)

_PACKAGES = ("reslab", "torch", "torchvision", "numpy", "pillow", "scikit-learn", "safetensors")


def describe_environment() -> dict[str, Any]:
    """Versions, processor, cores, GPUs, whose kernels train on the processor, and the code's commit; plain values."""
    compiler = cxx_compiler()
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": available_cores(),
        "gpus": _gpus(),
        "kernels": f"reslab's, compiled by {compiler} on first use" if compiler else "torch's, without a C++ compiler",
        "commit": _commit(),
    }


def describe_machine(environment: Mapping[str, Any]) -> str:
    """GPU, processor and cores of what `describe_environment` gave, in a few words."""
    gpus = list(dict.fromkeys(environment.get("gpus") or ()))
    return ", ".join([*gpus, str(environment["processor"]), f"{environment.get('cores', '?')} cores"])


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cxx_compiler() -> str | None:
    """The C++ compiler of this machine, by the names that torch.compile looks for; None if there is none."""
    return next((name for name in (os.environ.get("CXX") or "g++", "g++", "clang++") if shutil.which(name)), None)


def parse_size(text: str) -> int:
    """Reads `8GiB`, `800MB` or `2G`; a letter alone means powers of 1024, as with most tools.

    Raises:
        ReslabError: it is no size, or has no unit.
    """
    match = _SIZE.fullmatch(text)
    if match is None or float(match[1]) == 0:
        raise ReslabError(f"cannot read the size {text!r}: write it with its unit, as in 8GiB, 800MB or 2G.")
    base = 1000 if (match[3] or "").upper() == "B" else 1024
    return int(float(match[1]) * base ** _UNITS[match[2].upper()])


def resident_bytes(*, peak: bool = False) -> int:
    """Memory of this process that is resident now, or was at most; 0 where the system does not tell."""
    word = "VmHWM:" if peak else "VmRSS:"
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(word)), 0)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    widest = next((name for name in ("amx_tile", "avx512_vnni", "avx512f", "avx2") if name in flags), "")
    return f"{names[0] if names else platform.machine()}{f' ({widest})' if widest else ''}"


def _gpus() -> list[str]:
    """Names of NVIDIA's GPUs; empty without its tool, which comes with the driver."""
    if not shutil.which("nvidia-smi"):
        return []
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [name.strip() for name in said.splitlines() if name.strip()]


@functools.cache  # what a process runs is what it loaded, whatever becomes of the files later
def _commit() -> str | None:
    """The commit of a checkout that the package is run from, marked where files differ from it; None elsewhere."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
