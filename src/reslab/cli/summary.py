"""`reslab summary`."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.table import Table

from reslab.cli.arguments import NetFlags, OptionalCount, OptionalPath, OptionalText, output_console, parse, print_json
from reslab.errors import ModelError
from reslab.models import NetSpec, parse_model, spell
from reslab.models.zoo import with_fields

if TYPE_CHECKING:
    from reslab.analysis.complexity import Summary

_DESCRIPTION = """Show a network's layers: output shapes, parameters, multiply-adds (of convolutions and classifier, as
in the paper) and memory at a batch size.

  reslab summary resnet50 --memory 8GiB                   and the largest batch to train with
  reslab summary vgg19 plain34 resnet34 --graph fig3.svg  a picture instead, as the paper's Fig. 3"""


_FILLS_GAPS = (2, 38)  # glibc's version whose aligned blocks can take the place of freed ones


@dataclass(frozen=True)
class Arguments:
    models: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(name="model", metavar="MODEL ...", help_behavior_hint="(one or more)"),
    ]
    """Names or spellings, as in resnet20 or resnet20[shortcut=C]."""
    input_size: OptionalCount = None
    """Side of the images; what the network was made for by default: 32 for a cifar stem, else 224."""
    batch: int = 1
    """Images a batch, for the multiply-adds and the memory."""
    memory: OptionalText = None
    """Memory to train in, as in 8GiB or 800MB: how many images a batch may have (SGD with momentum)."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """In which convolutions and products are computed then, as --hardware.precision in `reslab train`."""
    graph: OptionalPath = None
    """Draw the networks side by side to this .svg, .png or .pdf, instead of printing tables."""
    depth: int = 3
    """How deep modules are listed; 1 for stages, 2 for blocks, 3 for layers, 4 for the layers of projections."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON; a list if there are several networks."""
    net: Annotated[NetFlags, tyro.conf.arg(name="")] = field(default_factory=NetFlags)


@dataclass(frozen=True)
class _Subject:
    """A network to be shown, and the size of its images."""

    name: str
    spec: NetSpec
    image_size: tuple[int, int]


def main(arguments: Sequence[str]) -> int:
    """Shows networks' layers."""
    asked = parse(Arguments, arguments, "summary", _DESCRIPTION)
    subjects = _subjects(asked)
    from reslab.analysis.complexity import summarize

    if asked.graph:
        _draw(subjects, asked.graph)
    trainings = [_training(subject, asked) for subject in subjects]
    if asked.json:
        rows = [
            {
                "model": spell(subject.spec),
                **summarize(subject.spec, subject.image_size, asked.batch).to_dict(),
                **({"training": training} if training else {}),
            }
            for subject, training in zip(subjects, trainings, strict=True)
        ]
        print_json(rows[0] if len(rows) == 1 else rows)
        return 0
    if asked.graph:
        print(asked.graph)
    for index, (subject, training) in enumerate(zip(subjects, trainings, strict=True)):
        if not asked.graph:
            if index:
                print()
            _show(subject.spec, summarize(subject.spec, subject.image_size, asked.batch), asked)
        if training:
            _show_training(subject, training, asked.precision)
    return 0


def _subjects(asked: Arguments) -> list[_Subject]:
    if not asked.models:
        raise ModelError("which network? Give a name, as in `reslab summary resnet20`; `reslab models` lists them.")
    for name, value in (("input-size", asked.input_size), ("batch", asked.batch), ("depth", asked.depth)):
        if value is not None and not 0 < value <= 1 << 20:
            raise ModelError(f"--{name} must be between 1 and {1 << 20:,}, not {value}.")
    subjects = []
    for model in asked.models:
        name = with_fields(model, asked.net.overrides())
        spec = parse_model(name)
        side = asked.input_size or spec.usual_input_size
        subjects.append(_Subject(name, spec, (side, side)))
    return subjects


def _draw(subjects: Sequence[_Subject], path: Path) -> None:
    from reslab.analysis.architecture import describe
    from reslab.analysis.diagram import check_suffix, draw

    check_suffix(path)
    draw([describe(subject.spec, subject.image_size, name=subject.name) for subject in subjects], path)


def _training(subject: _Subject, asked: Arguments) -> dict[str, int]:
    """The largest batch that can be trained with, and what it takes; empty unless asked for."""
    if asked.memory is None:
        return {}
    from reslab.analysis.memory import (
        IMPORT_BYTES,
        MOST_GAPS,
        estimate_training_memory,
        largest_training_batch,
    )
    from reslab.environment import parse_size

    num_bytes = parse_size(asked.memory)
    spec, size, precision = subject.spec, subject.image_size, asked.precision
    batch = largest_training_batch(spec, size, num_bytes - IMPORT_BYTES, precision)
    peak = IMPORT_BYTES + estimate_training_memory(spec, size, max(1, batch), precision)
    if not batch:
        raise ModelError(f"training {subject.name} takes {_gib(peak)} with one image a step, more than {asked.memory}.")
    return {
        "memory_bytes": num_bytes,
        "largest_batch": batch,
        "peak_bytes": peak,
        "largest_batch_with_gaps": largest_training_batch(
            spec, size, num_bytes - IMPORT_BYTES, precision, gaps=MOST_GAPS
        ),
    }


def _show(spec: NetSpec, summary: "Summary", asked: Arguments) -> None:
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
        f"multiply-adds  {_count(summary.macs)} at batch {asked.batch}\n"
        f"memory         input {_mb(summary.input_bytes)}, activations forward and backward "
        f"{_mb(summary.activation_bytes)}, parameters {_mb(summary.parameter_bytes)}: {_mb(total)} in all",
        highlight=False,
        soft_wrap=True,
    )


def _show_training(subject: _Subject, training: dict[str, int], precision: str) -> None:
    height, width = subject.image_size
    print(
        f"training       {subject.name}: batches of up to {training['largest_batch']:,} images of {height}x{width} fit "
        f"in {_gib(training['memory_bytes'])} ({_gib(training['peak_bytes'])} at the peak, in {precision})"
    )
    libc, version = platform.libc_ver()
    if libc == "glibc" and tuple(map(int, version.split(".")[:2])) < _FILLS_GAPS:
        print(
            f"               on this machine's CPU count on {training['largest_batch_with_gaps']:,}: glibc {version} "
            "leaves gaps between tensors, which 2.38 fills"
        )


def _count(number: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M")):
        if number >= size:
            return f"{number / size:.2f} {letter} ({number:,})"
    return f"{number:,}"


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.2f} MB"


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.2f} GiB"
