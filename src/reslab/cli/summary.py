"""`reslab summary`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reslab.cli.command import Command, argument
from reslab.cli.networks import net_fields, net_flags
from reslab.cli.output import JSON_HELP, print_json, print_table
from reslab.environment import parse_size
from reslab.errors import ModelError
from reslab.fields import knob
from reslab.models import NetSpec, parse_model, spell
from reslab.models.zoo import with_fields

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
            print(f"{spell(spec)}, {spec.depth} layers\n")
            headings = ("layer", "output", "parameters", "multiply-adds")
            print_table(headings, summary.cells(asked.depth), right=headings[2:])
            print(f"\n{summary}")
        if limit:
            print(limit.describe(name, summary.input_shape[2:], asked.precision))
    return 0


def _draw(names: Sequence[str], specs: Sequence[NetSpec], sides: Sequence[int], path: Path) -> None:
    from reslab.analysis.architecture import describe
    from reslab.analysis.diagram import check_suffix, draw

    check_suffix(path)
    draw([describe(spec, (side, side), name=name) for name, spec, side in zip(names, specs, sides, strict=True)], path)


COMMANDS = {
    "": Command(
        Arguments,
        "a network's layers: shapes, parameters, multiply-adds, memory",
        _DESCRIPTION,
        run,
    )
}
