"""`reslab export`."""

import json
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from reslab.cli.arguments import NetFlags, OptionalCount, OptionalPath, OptionalText, parse, print_json
from reslab.console import progress_bar
from reslab.errors import ReslabError, WeightsError
from reslab.models.zoo import parse_model, spell, with_fields
from reslab.runs import Run

if TYPE_CHECKING:
    from reslab.deploy import ExportReport
    from reslab.models.features import FeatureNetwork

_HELP = """Write a network as a file that runs without this package, for batches of any size.

  reslab export onnx runs/resnet20-digits-digits-quick-seed0     what a finished run has learned
  reslab export onnx resnet20 --weights weights.pth --out net.onnx
  reslab export torch-export resnet50 --weights torchvision:V2   a .pt2 for torch.export.load

The file is run on random images and compared with PyTorch, and written only if the two agree. Its input `images` is
(batch, channels, height, width) in float32, normalised as in training; its output `logits` is (batch, classes).
`reslab export onnx --help` tells more.
"""
_SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}
_LARGEST_SIDE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class ProgramArguments:
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL|RUN")]
    """A network's name or spelling, as in resnet20 or resnet20[shortcut=C]; or the folder of a finished run."""
    weights: OptionalText = None
    """Of a MODEL: a weight file, or the name of released weights such as torchvision:V2; fresh ones by default."""
    out: OptionalPath = None
    """File to write; RUN/model.onnx (.pt2) or MODEL.onnx (.pt2) by default."""
    input_size: OptionalCount = None
    """Side of the images; that of the run's data, or what the network was made for, by default."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""
    net: Annotated[NetFlags, tyro.conf.arg(name="")] = field(default_factory=NetFlags)


@dataclass(frozen=True, kw_only=True)
class OnnxArguments(ProgramArguments):
    opset: OptionalCount = None
    """Version of ONNX's operators: 18, which the most runtimes read, or later."""


@dataclass(frozen=True)
class _Source:
    """A network to export, with what is known of it."""

    model: "FeatureNetwork"
    image_size: tuple[int, int]
    out: Path
    weights: str
    metadata: dict[str, str]


def main(arguments: Sequence[str]) -> int:
    """Exports a network."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    kind, *rest = arguments
    if kind not in _SUFFIXES:
        raise ReslabError(f"there is no export {kind!r}: write `reslab export onnx` or `reslab export torch-export`.")
    description = f"Write a network as {'an ONNX file' if kind == 'onnx' else 'a torch.export program'}."
    form = OnnxArguments if kind == "onnx" else ProgramArguments
    asked = parse(form, rest, f"export {kind}", description)
    if asked.input_size is not None and not 1 <= asked.input_size <= _LARGEST_SIDE:
        raise ReslabError(f"--input-size must be between 1 and {_LARGEST_SIDE:,}, not {asked.input_size}.")
    source = _find(asked, _SUFFIXES[kind])
    report = _export(kind, asked, source)
    if asked.json:
        print_json({"model": spell(source.model.spec), "weights": source.weights, **report.to_dict()})
        return 0
    opset = f"opset {report.opset}, " if report.opset else ""
    shape = ", ".join(map(str, report.input_shape))
    print(f"{report.path}: {_size(report.num_bytes)}, {opset}{report.num_nodes:,} nodes, images (batch, {shape})")
    batches = f"{', '.join(map(str, report.batch_sizes[:-1]))} and {report.batch_sizes[-1]}"
    print(
        f"Agrees with PyTorch on batches of {batches} random images: largest difference "
        f"{report.largest_difference:.1e}, largest logit {report.largest_logit:.3g}."
    )
    return 0


def _export(kind: str, asked: ProgramArguments, source: _Source) -> "ExportReport":
    from reslab.deploy import export_onnx, export_program
    from reslab.deploy.export import DEFAULT_OPSET

    with progress_bar() as bar:
        task = bar.add_task("Exporting", total=3)

        def tell(text: str) -> None:
            bar.update(task, description=text, advance=1)

        if isinstance(asked, OnnxArguments):
            return export_onnx(
                source.model,
                source.out,
                image_size=source.image_size,
                opset=DEFAULT_OPSET if asked.opset is None else asked.opset,
                metadata=source.metadata,
                progress=tell,
            )
        return export_program(
            source.model, source.out, image_size=source.image_size, metadata=source.metadata, progress=tell
        )


def _find(asked: ProgramArguments, suffix: str) -> _Source:
    folder = Path(asked.model)
    if asked.weights is None and Run(folder).exists:
        return _run(Run(folder), asked, suffix)
    if asked.weights is None and folder.is_dir():
        raise WeightsError(f"{asked.model} is not the folder of a run.")
    if asked.weights is None and len(folder.parts) > 1:  # no name has a slash
        raise WeightsError(f"there is no folder {asked.model}.")
    name = with_fields(asked.model, asked.net.overrides())
    spec = parse_model(name)
    from reslab.models import create_model
    from reslab.models.weights import HeadReplacedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", HeadReplacedWarning)
        try:
            model = create_model(name, weights=asked.weights)
        except HeadReplacedWarning as warning:
            raise WeightsError(
                f"{asked.weights} does not fit {name}: {warning} Give --num-classes as in the file."
            ) from None
    if asked.weights is None:
        print(
            f"{name} gets fresh weights, which have learned nothing; give --weights, or a run's folder.",
            file=sys.stderr,
        )
    stem = re.sub(r"[^\w.]+", "-", name).strip("-")
    side = asked.input_size or spec.usual_input_size
    metadata = {"reslab.model": spell(spec)}
    return _Source(model, (side, side), asked.out or Path(f"{stem}{suffix}"), asked.weights or "fresh", metadata)


def _run(run: Run, asked: ProgramArguments, suffix: str) -> _Source:
    if given := sorted(asked.net.overrides()):
        raise WeightsError(f"--{given[0].replace('_', '-')} is for a network's name; a run has it in its card.")
    from reslab.evaluation.trained import load_trained

    trained = load_trained(run.folder)
    data = run.record["data"]
    size = (data["height"], data["width"]) if asked.input_size is None else (asked.input_size, asked.input_size)
    metadata = {
        "reslab.model": spell(trained.model.spec),
        "reslab.classes": json.dumps(trained.classes, ensure_ascii=False),
        "reslab.normalization": json.dumps(trained.normalization.to_dict()),
        "reslab.weights_sha256": trained.sha256,
    }
    return _Source(trained.model, size, asked.out or run.folder / f"model{suffix}", str(run.folder), metadata)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:,.1f} kB"
