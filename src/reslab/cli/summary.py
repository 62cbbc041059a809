"""`reslab summary`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro
from rich.table import Table

from reslab.cli.arguments import NetFlags, OptionalCount, output_console, parse, print_json
from reslab.errors import ModelError
from reslab.models import parse_model, spell


@dataclass(frozen=True)
class Arguments:
    model: Annotated[str, tyro.conf.Positional]
    """Name or spelling, as in resnet20 or resnet20[shortcut=C]."""
    input_size: OptionalCount = None
    """Side of the images; 32 for a cifar stem and 224 for an imagenet stem by default."""
    batch: int = 1
    """Images a batch, for the multiply-adds and the memory."""
    depth: int = 3
    """How deep modules are listed; 1 for stages, 2 for blocks, 3 for layers, 4 for the layers of projections."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""
    net: Annotated[NetFlags, tyro.conf.arg(name="")] = field(default_factory=NetFlags)


def main(arguments: Sequence[str]) -> int:
    """Shows a network's layers."""
    description = (
        "Show a network's layers: output shapes, parameters, multiply-adds (of convolutions and classifier, as in the "
        "paper) and memory at a batch size."
    )
    asked = parse(Arguments, arguments, "summary", description)
    spec = parse_model(asked.model, asked.net.overrides())
    usual = 224 if spec.stem == "imagenet" else 32
    size = usual if asked.input_size is None else asked.input_size
    for name, value in (("input-size", size), ("batch", asked.batch), ("depth", asked.depth)):
        if not 0 < value <= 1 << 20:
            raise ModelError(f"--{name} must be between 1 and {1 << 20:,}, not {value}.")
    from reslab.analysis.complexity import summarize

    summary = summarize(spec, (size, size), asked.batch)
    if asked.json:
        print_json({"model": spell(spec), **summary.to_dict()})
        return 0
    table = Table(title=f"{spell(spec)}, {spec.depth} layers", title_justify="left")
    for heading, justify in (
        ("layer", "left"),
        ("output", "left"),
        ("parameters", "right"),
        ("multiply-adds", "right"),
    ):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for layer in summary.layers:
        if layer.nesting > asked.depth:
            continue
        below = [other for other in summary.layers if other.name.startswith(f"{layer.name}." if layer.name else "")]
        folded = layer.nesting == asked.depth and not layer.is_leaf
        parameters = layer.parameters + folded * sum(other.parameters for other in below)
        macs = layer.macs + folded * sum(other.macs for other in below)
        table.add_row(
            "  " * layer.nesting + (f"{layer.name.rsplit('.', 1)[-1]} ({layer.kind})" if layer.name else layer.kind),
            " x ".join(map(str, layer.output_shape)),
            f"{parameters:,}" if parameters else "",
            f"{macs:,}" if macs else "",
        )
    console = output_console()
    console.print(table)
    total = summary.input_bytes + summary.activation_bytes + summary.parameter_bytes
    console.print(
        f"parameters     {summary.parameters:,}\n"
        f"multiply-adds  {summary.macs:,} at batch {asked.batch}\n"
        f"memory         input {_mb(summary.input_bytes)}, activations forward and backward "
        f"{_mb(summary.activation_bytes)}, parameters {_mb(summary.parameter_bytes)}: {_mb(total)} in all",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.2f} MB"
