"""Weights of any trained network, rewritten with another library's names."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reslab.models.conversion import ConversionReport, convert_network, convert_weights
from reslab.models.weight_files import split_choice
from reslab.models.weights import CARD_NAME
from reslab.trained.loading import load_trained
from reslab.trained.reference import Reference

__all__ = ["convert"]


def convert(
    name: Path | str,
    model: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    layout: str = "auto",
    to: str = "torchvision",
    out: Path | str | None = None,
) -> ConversionReport:
    """Converts the weights of a file, or of whatever else names a trained network.

    Args:
        name: a file of weights (FILE#TABLE where it has several); or the folder of a run, such weights beside their
            card, or MODEL=WEIGHTS.
        model: name or spelling of the network that a file is for; the others say it themselves.
        overrides: fields of the network that differ from the spelling's.
        layout: library whose names the file has; `auto` finds out.
        to: library whose names to write.
        out: file to write, `.safetensors`, `.pth` or `.pt`; by default beside what is read.

    Raises:
        ReslabError: as for `convert_weights` and `load_trained`.
    """
    path = Path(name)
    if model is None and not path.exists() and "=" in str(name):
        reference = Reference.parse(str(name))
        if (
            reference.weights and Path(split_choice(reference.weights)[0]).is_file()
        ):  # whose names are said, and may be given
            path, model = Path(reference.weights), reference.model
    described = path.is_dir() or (path.parent / CARD_NAME).is_file() if path.exists() else "=" in str(path)
    if model is not None or not described:
        return convert_weights(path, model, overrides, layout=layout, to=to, out=out)
    reference = Reference.parse(str(name))
    trained = load_trained(reference, overrides=overrides or None)
    beside = reference.folder / f"weights-{to}.safetensors" if reference.folder else None
    target = out or beside or Path(f"{path.name}-{to}.safetensors".replace("=", "-").replace(":", "-"))
    return replace(convert_network(trained.model, target, to=to), note=trained.about.note)
