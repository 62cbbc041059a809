"""States to resume from: written atomically, the newest few kept, read without unpickling anything but plain types."""

import re
from pathlib import Path
from typing import Any

import torch

from reslab.errors import CheckpointError
from reslab.files.atomic import atomic_path
from reslab.files.torch_file import DamagedFileError, load_torch_file

__all__ = ["BEST_NAME", "load_checkpoint", "newest_checkpoint", "save_checkpoint"]

BEST_NAME = "best-on-val.pt"
_NAME = re.compile(r"iteration-(\d+)\.pt")


def save_checkpoint(folder: Path, state: dict[str, Any], *, keep: int) -> Path:
    """Writes `iteration-N.pt` and removes all but the newest `keep`.

    Args:
        folder: of the run's checkpoints.
        state: tensors and plain values, with `iteration`.
        keep: how many to keep; one fewer than the newest can be damaged by nothing that a crash does.
    """
    path = folder / f"iteration-{state['iteration']:07d}.pt"
    _write(path, state)
    for old in _by_age(folder)[:-keep]:
        old.unlink()
    return path


def save_best(folder: Path, state: dict[str, Any]) -> None:
    """Writes the state that is best on val so far."""
    _write(folder / BEST_NAME, state)


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest iteration, as its name states it; None where there is none."""
    return next(reversed(_by_age(folder)), None)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        state = load_torch_file(path)
    except (OSError, DamagedFileError) as error:
        raise CheckpointError(
            f"the checkpoint {path} is damaged ({error}); remove it to resume from the one before."
        ) from None
    if not isinstance(state, dict) or "iteration" not in state:
        raise CheckpointError(f"{path} is not a checkpoint of a run.")
    return state


def _write(path: Path, state: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def _by_age(folder: Path) -> list[Path]:
    found = [(int(match[1]), path) for path in folder.glob("*.pt") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]
