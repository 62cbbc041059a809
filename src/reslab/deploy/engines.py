"""OpenVINO, NNCF and ONNX Runtime, imported so that they neither chat nor call home, with the settings used here."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from reslab.environment import available_cores
from reslab.errors import ReslabError

__all__ = [
    "DeployError",
    "check_libraries",
    "first_line",
    "onnx_session",
    "openvino_core",
    "openvino_settings",
    "openvinos_reason",
    "quiet_import",
    "silenced",
]

TORCHS = ("torch", "torch.utils.cpp_extension")
"""Loggers: NNCF imports what says that there is a CUDA compiler and no GPU."""
_TELEMETRY = "openvino_telemetry"
_ONNXRUNTIME_SWITCHES = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")  # of today, and of some earlier versions


_core_lock = Lock()


class DeployError(ReslabError):
    """A deployed file that cannot be read, made or used as asked."""


def check_libraries(what: str, *names: str) -> None:
    """Raises DeployError where a library of the extra `deploy` is missing."""
    missing = []
    for name in names:
        try:
            quiet_import(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise DeployError(f"{what} needs {', '.join(missing)}: pip install 'reslab[deploy]'.")


def quiet_import(name: str) -> Any:
    """Imports a library without its telemetry and without what it says while it is imported.

    Importing `openvino` sends an event to its makers, and NNCF one for every call, unless the package that does the
    sending is absent; so it is, while they are imported. ONNX Runtime's switch must be set before it starts: by the
    time `disable_telemetry_events` can be called it has left an identifier in the user's cache and an event to send.
    """
    for switch in _ONNXRUNTIME_SWITCHES:
        os.environ.setdefault(switch, "1")
    if name in sys.modules:
        return import_module(name)
    absent = object()
    before: Any = sys.modules.get(_TELEMETRY, absent)
    logger_class = logging.getLoggerClass()  # which NNCF replaces for the whole process
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        with silenced(*TORCHS):
            module = import_module(name)
    finally:
        logging.setLoggerClass(logger_class)
        if before is absent:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = before
    if name == "onnxruntime":
        module.disable_telemetry_events()  # where an application has started it before us
        module.set_default_logger_severity(4)  # fatal: what goes wrong is raised as well
    return module


@contextmanager
def silenced(*names: str) -> Iterator[None]:
    """Turns loggers off for a while."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def first_line(error: BaseException) -> str:
    """What an exception says first, as a sentence."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if line.endswith(".") else f"{line}."


# ONNX Runtime


def onnx_session(path: Path, threads: int | None = None) -> Any:
    """An ONNX Runtime session on the processor.

    Args:
        path: of an ONNX file.
        threads: of one inference; all available cores by default.

    Raises:
        DeployError: ONNX Runtime cannot read the file.
    """
    onnxruntime = quiet_import("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or available_cores()
    # Threads that wait for work actively take the cores from those that decode images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own, which have no base
        raise DeployError(f"ONNX Runtime cannot read {path}: {first_line(error)}") from None


# OpenVINO


def openvino_core() -> Any:
    """OpenVINO's entrance, one for as long as the process lives.

    The first network that a Core compiles gives the thread that asked a stack for signals of its own, and frees it with
    the Core. Freed by another thread, as happens when that one drops the last network, the first thread is left with a
    stack that is not there: the next signal that Python handles, be it Ctrl-C, ends the process in a segmentation
    fault. Seen in OpenVINO 2026.4 on Linux.
    """
    with _core_lock:
        return _core()


@cache
def _core() -> Any:
    return quiet_import("openvino").Core()


def openvino_settings(threads: int | None = None) -> dict[str, Any]:
    """How networks are compiled for the processor.

    Args:
        threads: in all; all available cores by default.
    """
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or available_cores(),
        # On processors that have bfloat16 instructions OpenVINO takes what is float32 in the file for bfloat16.
        "INFERENCE_PRECISION_HINT": "f32",
        # Decoding shares the cores: pinned threads would wait for one while another is idle.
        "ENABLE_CPU_PINNING": False,
    }


def openvinos_reason(error: RuntimeError) -> str:
    """OpenVINO's messages begin with lines that name its own source files."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return first_line(RuntimeError((told or lines or ["it gives no reason"])[0]))
