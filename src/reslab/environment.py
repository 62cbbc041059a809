"""What a number depends on besides the code: versions, processor, commit. Importing this module imports no torch."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["available_cores", "describe_environment"]

_PACKAGES = ("reslab", "torch", "torchvision", "numpy", "pillow", "scikit-learn", "safetensors")


def describe_environment() -> dict[str, Any]:
    """Versions, processor, cores and the commit of the code, as plain values."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": available_cores(),
        "commit": _commit(),
    }


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    widest = next((name for name in ("amx_tile", "avx512_vnni", "avx512f", "avx2") if name in flags), "")
    return f"{names[0] if names else platform.machine()}{f' ({widest})' if widest else ''}"


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
