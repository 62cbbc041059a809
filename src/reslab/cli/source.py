"""What `export`, `quantize` and `predict` share: the arguments that name a network, and finding it."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from reslab.cli.arguments import NetFlags, OptionalCount, OptionalText, parse_numbers
from reslab.errors import ReslabError, WeightsError
from reslab.models.zoo import with_fields
from reslab.runs import Run

if TYPE_CHECKING:
    from reslab.deploy.source import Source

__all__ = ["SourceArguments", "file_stem", "find_source", "run_folder", "show_size"]

_LARGEST_SIDE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class SourceArguments:
    weights: OptionalText = None
    """Of a MODEL: a weight file, or the name of released weights such as torchvision:V2; fresh ones by default."""
    mean: OptionalText = None
    """Subtracted from inputs in [0, 1], a number a channel, as in 0.485,0.456,0.406; a run and released weights know
    it."""
    std: OptionalText = None
    """By which they are divided; 1 by default."""
    input_size: OptionalCount = None
    """Side of the images; that of the run's data, or what the network was made for, by default."""
    net: Annotated[NetFlags, tyro.conf.arg(name="")] = field(default_factory=NetFlags)


def find_source(model: str, asked: SourceArguments, defaults: Mapping[str, Any] | None = None) -> "Source":
    """The network that a command is about.

    Args:
        model: a network's name or spelling, or the folder of a run.
        asked: what else was given.
        defaults: fields of a named network where it does not give them.
    """
    if asked.input_size is not None and not 1 <= asked.input_size <= _LARGEST_SIDE:
        raise ReslabError(f"--input-size must be between 1 and {_LARGEST_SIDE:,}, not {asked.input_size}.")
    folder = run_folder(model, asked)
    overrides = asked.net.overrides()
    if folder:
        described = [name for name in ("mean", "std") if getattr(asked, name) is not None] + sorted(overrides)
        if described:
            name = described[0].replace("_", "-")
            raise WeightsError(f"--{name} is for a network's name; a run has it in its card.")
        from reslab.deploy.source import source_of_run

        return source_of_run(folder, input_size=asked.input_size)
    if asked.weights is None and Path(model).is_dir():
        raise WeightsError(f"{model} is not the folder of a run.")
    if asked.weights is None and len(Path(model).parts) > 1:  # no name has a slash
        raise WeightsError(f"there is no folder {model}.")
    from reslab.deploy.source import source_of_weights

    source = source_of_weights(
        model,
        asked.weights,
        overrides=overrides,
        defaults=defaults,
        mean=None if asked.mean is None else parse_numbers(asked.mean, "--mean"),
        std=None if asked.std is None else parse_numbers(asked.std, "--std"),
        input_size=asked.input_size,
    )
    if asked.weights is None:
        print(
            f"{source.name} gets fresh weights, which have learned nothing; give --weights, or a run's folder.",
            file=sys.stderr,
        )
    return source


def run_folder(model: str, asked: SourceArguments) -> Path | None:
    """The folder, if a run is meant."""
    return Path(model) if asked.weights is None and Run(Path(model)).exists else None


def file_stem(model: str, asked: SourceArguments) -> str:
    """A network's spelling as part of a file's name."""
    return re.sub(r"[^\w.]+", "-", with_fields(model, asked.net.overrides())).strip("-")


def show_size(num_bytes: int) -> str:
    """In megabytes or kilobytes."""
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:,.1f} kB"
