"""What several commands share: parsing, the flags of a network, lists of numbers, output."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from rich.console import Console

from reslab.errors import ReslabError
from reslab.models.spec import (
    Activation,
    Block,
    Gate,
    Init,
    Norm,
    Order,
    Shortcut,
    ShortcutPadding,
    Stem,
    StemPool,
    StridePlacement,
)

__all__ = [
    "NetFlags",
    "OptionalCount",
    "OptionalNumber",
    "OptionalPath",
    "OptionalText",
    "output_console",
    "parse",
    "parse_numbers",
    "print_json",
]

Arguments = TypeVar("Arguments")
OptionalText = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]
OptionalCount = Annotated[int | None, tyro.conf.arg(metavar="N")]
OptionalNumber = Annotated[float | None, tyro.conf.arg(metavar="NUMBER")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]


@dataclass(frozen=True, kw_only=True)
class NetFlags:
    """Fields of the network that differ from its name's; the same as in MODEL[field=value,...]."""

    shortcut: Shortcut | None = None
    """A: identity and zero padding; B: projection where dimensions grow; C: projection everywhere; avgpool: A with
    average pooling; gated: A with a gate, as in highway networks; none: a plain net."""
    shortcut_padding: ShortcutPadding | None = None
    """Zero channels of A, avgpool and gated: appended (fb.resnet.torch), or split on both sides (akamaster)."""
    projection_norm: bool | None = None
    """Batch norm after projections."""
    projection_pool: bool | None = None
    """Average pooling for a projection's stride (ResNet-D)."""
    gate: Gate | None = None
    """What a gated shortcut's gate scales: branch and shortcut, or the shortcut only."""
    gate_bias: OptionalNumber = None
    """Initial bias of the gates."""
    block: Block | None = None
    """basic: two 3x3 convolutions; bottleneck: 1x1, 3x3, 1x1."""
    stride: StridePlacement | None = None
    """A bottleneck's stride on the first 1x1 (v1, the paper) or on the 3x3 (v1.5, torchvision)."""
    order: Order | None = None
    """post: convolution, norm, activation; pre: norm, activation, convolution."""
    stem: Stem | None = None
    """cifar: 3x3 convolution; imagenet: 7x7 convolution and max-pooling; deep: three 3x3 convolutions and max-pooling
    (ResNet-D)."""
    stem_pool: StemPool | None = None
    """Max-pooling padded (torchvision) or with a last window over the edge (ceil; the authors' Caffe release)."""
    groups: OptionalCount = None
    """Groups of a bottleneck's 3x3 convolution (ResNeXt)."""
    width_per_group: OptionalCount = None
    """Channels of each group in a stage of width 64; 128 in a wide ResNet."""
    squeeze_excitation: OptionalCount = None
    """Factor by which squeeze-and-excitation narrows the channels; 0 for none."""
    norm: Norm | None = None
    """batch, group or none."""
    activation: Activation | None = None
    """relu, or another."""
    conv_bias: bool | None = None
    """Biases in the convolutions."""
    dropout: OptionalNumber = None
    """Probability before the classifier."""
    branch_dropout: OptionalNumber = None
    """Probability at the end of each stage's first branch (KellerJordan)."""
    stochastic_depth: OptionalNumber = None
    """Probability of dropping the last block's branch; smaller before."""
    num_classes: OptionalCount = None
    """Outputs; those of the data by default."""
    in_channels: OptionalCount = None
    """1 for grey images, 3 for colour; those of the data by default."""
    init: Init | None = None
    """He initialisation by fan-in or fan-out."""
    zero_init_residual: bool | None = None
    """Start the last batch norm of every block at scale 0."""

    def overrides(self) -> dict[str, Any]:
        """The fields that were given."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def parse(
    kind: type[Arguments], arguments: Sequence[str], command: str, description: str, default: Arguments | None = None
) -> Arguments:
    """Parses a command's arguments into a dataclass; a wrong one ends the program with a message and code 2."""
    extra: dict[str, Any] = {} if default is None else {"default": default}
    parsed: Arguments = tyro.cli(
        kind,
        args=list(arguments),
        prog=f"reslab {command}",
        description=description,
        config=(tyro.conf.HelptextFromCommentsOff,),
        **extra,
    )
    return parsed


def output_console() -> Console:
    """Where tables go: brackets are text there, and outside a terminal nothing is squeezed into 80 columns."""
    console = Console(markup=False)
    return console if console.is_terminal else Console(markup=False, width=160)


def parse_numbers(text: str, name: str) -> tuple[float, ...]:
    """Reads `0.485,0.456,0.406`.

    Raises:
        ReslabError: it is no list of numbers.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ReslabError(f"cannot read {name} {text!r}: write numbers joined by commas, as in 0.5,0.5,0.5.") from None


def print_json(value: Any) -> None:
    """Prints a result for programs."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    print()
