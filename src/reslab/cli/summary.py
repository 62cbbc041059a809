"""`reslab summary`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reslab.cli.command import Command, argument
from reslab.cli.networks import net_fields, net_flags
from reslab.cli.output import JSON_HELP, print_json, print_table
from reslab.environment import parse_size
from reslab.fields import knob
from reslab.models import NetSpec, parse_model, spell
from reslab.models.zoo import with_fields

if TYPE_CHECKING:
    from reslab.analysis.batch_limit import BatchLimit
    from reslab.analysis.complexity import Summary

_DESCRIPTION = """\
  reslab summary resnet20
  reslab summary resnet50 --memory 8GiB                   and the largest batch that trains in so much
  reslab summary vgg19 plain34 resnet34 --graph fig3.svg  a picture instead, as the paper's Fig. 3

Shown are output shapes, parameters, multiply-adds (of convolutions and classifier, as in the paper) and memory."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    models: tuple[str, ...] = argument(
        (), "Names or spellings, as in resnet20 or resnet20[shortcut=C].", metavar="MODEL"
    )
    input_size: int | None = knob(
        None,
        "Side of the images; by default what the network was made for: 32 for a cifar stem, else 224.",
        least=1,
        most=1 << 14,
    )
    batch_size: int = knob(1, "Images, for the multiply-adds and the memory.", least=1, most=1 << 20)
    memory: str | None = knob(
        None, "Memory to train in, as in 8GiB or 800MB: tells the largest batch (SGD with momentum).", metavar="SIZE"
    )
    precision: Literal["fp32", "bf16", "fp16"] = knob("fp32", "Precision of convolutions and products in it.")
    graph: Path | None = knob(None, "Picture of the networks side by side (.svg, .png, .pdf), instead of tables.")
    depth: int = knob(
        3, "Depth of the list: 1 for stages, 2 for blocks, 3 for layers, 4 for those of projections.", least=0, most=9
    )
    json: bool = knob(False, f"{JSON_HELP[:-1]}; a list if there are several networks.")
    net: Mapping[str, str] = net_flags()


def run(asked: Arguments) -> int:
    """Shows networks' layers."""
    if not asked.models:
        from reslab.errors import ModelError

        raise ModelError("which network? Give a name, as in `reslab summary resnet20`; `reslab models` lists them.")
    names = [with_fields(model, net_fields(asked.net)) for model in asked.models]
    specs = [parse_model(name) for name in names]
    memory = parse_size(asked.memory) if asked.memory else None
    from reslab.analysis.batch_limit import batch_limit
    from reslab.analysis.complexity import summarize

    sides = [asked.input_size or spec.usual_input_size for spec in specs]
    summaries = [summarize(spec, (side, side), asked.batch_size) for spec, side in zip(specs, sides, strict=True)]
    limits = [
        batch_limit(spec, (side, side), memory, asked.precision) if memory else None
        for spec, side in zip(specs, sides, strict=True)
    ]
    if asked.graph:
        _draw(names, specs, sides, asked.graph)
    if asked.json:
        rows = [
            {"model": spell(spec), **summary.to_dict(), **({"training": limit.to_dict()} if limit else {})}
            for spec, summary, limit in zip(specs, summaries, limits, strict=True)
        ]
        print_json(rows[0] if len(rows) == 1 else rows)
        return 0
    if asked.graph:
        print(asked.graph)
    for name, spec, summary, limit in zip(names, specs, summaries, limits, strict=True):
        if not asked.graph:
            _show(spec, summary, asked)
        if limit:
            _show_limit(name, summary, limit, asked.precision)
    return 0


def _draw(names: Sequence[str], specs: Sequence[NetSpec], sides: Sequence[int], path: Path) -> None:
    from reslab.analysis.architecture import describe
    from reslab.analysis.diagram import check_suffix, draw

    check_suffix(path)
    draw([describe(spec, (side, side), name=name) for name, spec, side in zip(names, specs, sides, strict=True)], path)


def _show(spec: NetSpec, summary: "Summary", asked: Arguments) -> None:
    rows = []
    for layer in summary.rows(asked.depth):
        name = f"{layer.name.rsplit('.', 1)[-1]} ({layer.kind})" if layer.name else layer.kind
        counts = (f"{number:,}" if number else "" for number in (layer.parameters, layer.macs))
        rows.append(("  " * layer.nesting + name, " x ".join(map(str, layer.output_shape)), *counts))
    print(f"{spell(spec)}, {spec.depth} layers\n")
    print_table(("layer", "output", "parameters", "multiply-adds"), rows, right=("parameters", "multiply-adds"))
    total = summary.input_bytes + summary.activation_bytes + summary.parameter_bytes
    print(f"\nparameters     {summary.parameters:,}")
    print(f"multiply-adds  {_count(summary.macs)} at a batch of {asked.batch_size}")
    print(
        f"memory         input {_mb(summary.input_bytes)}, activations forward and backward "
        f"{_mb(summary.activation_bytes)}, parameters {_mb(summary.parameter_bytes)}: {_mb(total)} in all\n"
    )


def _show_limit(name: str, summary: "Summary", limit: "BatchLimit", precision: str) -> None:
    from reslab.analysis.batch_limit import leaves_gaps

    height, width = summary.input_shape[2:]
    print(
        f"training       {name}: batches of up to {limit.largest_batch:,} images of {height}x{width} fit in "
        f"{limit.memory_bytes / 2**30:.2f} GiB ({limit.peak_bytes / 2**30:.2f} GiB at the peak, in {precision})"
    )
    if library := leaves_gaps():
        print(
            f"               on this machine's CPU count on {limit.largest_batch_with_gaps:,}: {library} leaves gaps "
            "between tensors, which 2.38 fills"
        )


def _count(number: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M")):
        if number >= size:
            return f"{number / size:.2f} {letter} ({number:,})"
    return f"{number:,}"


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.2f} MB"


COMMANDS = {
    "": Command(
        Arguments,
        "a network's layers: shapes, parameters, multiply-adds, memory",
        _DESCRIPTION,
        run,
        {"batch": "batch-size"},
    )
}
