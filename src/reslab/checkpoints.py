"""States to resume from: written atomically, sealed with a checksum, the newest few kept, read without unpickling
anything but plain types.
"""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reslab.errors import CheckpointError, ReslabWarning
from reslab.files.atomic import atomic_path
from reslab.files.torch_file import DamagedFileError, UnsealedFileError, load_sealed, save_sealed

__all__ = [
    "BEST_NAME",
    "DamagedCheckpointError",
    "DamagedCheckpointWarning",
    "check_asked",
    "check_belonging",
    "load_checkpoint",
    "newest_checkpoint",
    "newest_whole_checkpoint",
    "save_best",
    "save_checkpoint",
]

BEST_NAME = "best-on-val.pt"
_NAME = re.compile(r"iteration-(\d+)\.pt")


class DamagedCheckpointError(CheckpointError):
    """A checkpoint whose bytes are not those that were written."""


class DamagedCheckpointWarning(ReslabWarning):
    """A checkpoint is damaged, and the one before it was used."""


def save_checkpoint(folder: Path, state: dict[str, Any], *, keep: int) -> Path:
    """Writes `iteration-N.pt` and removes all but the newest `keep`.

    Args:
        folder: of the run's checkpoints.
        state: tensors and plain values, with `iteration`, and with `asked`, the digest of what was asked of the run.
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


def newest_whole_checkpoint(
    folder: Path, *, asked: str, unsealed_too: bool, say: Callable[[str], object] | None = None
) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole.

    Args:
        folder: of the run's checkpoints.
        asked: digest of what is asked of the run.
        unsealed_too: as in `load_checkpoint`.
        say: called with a sentence for each damaged one, which is then set aside under a name that ends in `.damaged`;
            None leaves them where they are, for somebody who only reads.

    Returns:
        Its path and its state; None where there is no checkpoint.

    Raises:
        CheckpointError: there are checkpoints, and none is whole; or the newest whole one is of another run.
    """
    damaged: dict[Path, str] = {}
    for path in reversed(_by_age(folder)):
        try:
            state = load_checkpoint(path, unsealed_too=unsealed_too)
        except DamagedCheckpointError as error:
            damaged[path] = str(error)
            continue
        check_asked(state, path, asked)
        for later, sentence in damaged.items() if say else ():
            assert say is not None
            say(f"{sentence} Going on from the one before, {path}.")
            with contextlib.suppress(OSError):  # else it would count among the newest few
                later.rename(later.with_name(f"{later.name}.damaged"))
        return path, state
    if damaged:
        raise CheckpointError(
            f"no checkpoint is whole: {' '.join(damaged.values())} Put back copies of them, or remove the run's "
            "folder to start again."
        )
    return None


def check_belonging(folder: Path, *, asked: str) -> None:
    """Raises CheckpointError if a folder has whole checkpoints of another run than one that is to start there.

    Args:
        folder: of the run's checkpoints.
        asked: digest of what is asked of the run.
    """
    for path in reversed(_by_age(folder)):
        with contextlib.suppress(DamagedCheckpointError):
            check_asked(load_checkpoint(path), path, asked)


def load_checkpoint(path: Path, *, unsealed_too: bool = False) -> dict[str, Any]:
    """Reads a checkpoint.

    Args:
        path: of the file.
        unsealed_too: whether one without a checksum of all its bytes is read, as version 0.1.0 wrote them.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        state = load_sealed(path, unsealed_too=unsealed_too)
    except UnsealedFileError as error:
        raise CheckpointError(
            f"{path} is no checkpoint of this run: {error}. Move it away, or choose another --run-dir."
        ) from None
    except PermissionError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error.strerror}.") from None
    except (OSError, DamagedFileError) as error:
        raise DamagedCheckpointError(f"the checkpoint {path} is damaged ({error}).") from None
    if not isinstance(state, dict) or type(state.get("iteration")) is not int or state["iteration"] < 0:
        raise CheckpointError(f"{path} is not a checkpoint of a run.")
    return state


def check_asked(state: dict[str, Any], path: Path, asked: str) -> None:
    """Raises CheckpointError if a checkpoint is of another run; one of version 0.1.0 does not say.

    Args:
        state: the checkpoint's.
        path: where it was read, for the message.
        asked: digest of what is asked of the run.
    """
    if state.get("asked", asked) != asked:
        raise CheckpointError(
            f"{path} is the checkpoint of another run: of another network, other data, another recipe, seed or initial "
            "weights than are asked for. Move it away, or choose another --run-dir."
        )


def _write(path: Path, state: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        save_sealed(state, temporary)


def _by_age(folder: Path) -> list[Path]:
    found = [(int(match[1]), path) for path in folder.glob("*.pt") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]
