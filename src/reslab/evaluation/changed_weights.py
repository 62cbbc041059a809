"""Weights of a run that were changed after training, with their card: in a folder of their own or in the run."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from reslab.errors import ReslabError, WeightsError
from reslab.models.weights import read_card, save_weights
from reslab.runs import Run
from reslab.trained import Trained

__all__ = ["choose_folder", "save_changed"]


def choose_folder(folder: Path, out: Path | None, in_place: bool) -> Path:
    """Where changed weights go.

    Raises:
        ReslabError: it is not said where, or it is said twice.
    """
    if (out is None) == (not in_place):
        raise ReslabError("say where to write: either --out DIR, or --in-place to replace the run's own weights.")
    if out is not None and out.exists() and out.samefile(folder):
        raise ReslabError(f"--out {out} is the run itself; give --in-place to replace its weights.")
    return out or folder


def save_changed(run: Run, folder: Path, trained: Trained, change: Callable[[dict[str, Any]], None]) -> None:
    """Writes a network with its run's card; all files change at once, under the run's lock.

    Args:
        run: where the network is from.
        folder: where to; the run's own, too, whose weights are then replaced.
        trained: the network, with the sha256 that its weights had in the run.
        change: of the card, in place.

    Raises:
        WeightsError: the run's weights are not those that were changed any more.
        WriteError: the folder cannot be written to.
    """
    with run.lock() if run.exists else nullcontext():
        card = read_card(run.folder)
        if card["sha256"] != trained.sha256:
            raise WeightsError(f"the weights in {run.folder} were replaced while they were measured; measure again.")
        for name in ("schema_version", "sha256", "normalization_sha256"):
            card.pop(name, None)
        change(card)
        normalization = trained.normalization
        save_weights(
            trained.model,
            folder,
            card,
            write_normalization=normalization.save if normalization.per_pixel else None,
        )
