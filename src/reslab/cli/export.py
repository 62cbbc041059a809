"""`reslab export`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from reslab.cli.arguments import OptionalCount, OptionalPath, parse, print_json
from reslab.cli.source import SourceArguments, file_stem, find_source, run_folder, show_size
from reslab.console import progress_bar
from reslab.errors import ReslabError
from reslab.models.zoo import spell

if TYPE_CHECKING:
    from reslab.deploy import ExportReport
    from reslab.deploy.source import Source

_HELP = """Write a network as a file that runs without this package, for batches of any size.

  reslab export onnx runs/resnet20-digits-digits-quick-seed0     what a finished run has learned
  reslab export onnx resnet20 --weights weights.pth --mean 0.49,0.48,0.45 --std 0.25,0.24,0.26 --out net.onnx
  reslab export openvino resnet50 --weights torchvision:V2       OpenVINO's .xml, with the weights in a .bin beside it
  reslab export torch-export resnet50 --weights torchvision:V2   a .pt2 for torch.export.load

The file is run on random images and compared with PyTorch, and written only if the two agree. Its input `images` is
what a decoder gives, (batch, height, width, channels) in uint8, where it is known how the network's inputs are
normalised: for runs, for released weights, and with --mean. Elsewhere, and with --input float, it is (batch, channels,
height, width) in float32, normalised as in training. Its output `logits` is (batch, classes). The file says which
classes it knows and how an image of any size becomes its input (`reslab predict` does that).
`reslab export onnx --help` tells more.
"""
_SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
_DESCRIPTIONS = {"onnx": "an ONNX file", "openvino": "an OpenVINO file", "torch-export": "a torch.export program"}


@dataclass(frozen=True, kw_only=True)
class ProgramArguments(SourceArguments):
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL|RUN")]
    """A network's name or spelling, as in resnet20 or resnet20[shortcut=C]; or the folder of a finished run."""
    out: OptionalPath = None
    """File to write; RUN/model.onnx (.xml, .pt2) or MODEL.onnx (.xml, .pt2) by default."""
    input: Annotated[Literal["uint8", "float"] | None, tyro.conf.arg(metavar="uint8|float")] = None
    """What the file takes: pixels, or images normalised as in training; pixels by default where mean and std are
    known."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class OnnxArguments(ProgramArguments):
    opset: OptionalCount = None
    """Version of ONNX's operators: 18, which the most runtimes read, or later."""


def main(arguments: Sequence[str]) -> int:
    """Exports a network."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    kind, *rest = arguments
    if kind not in _SUFFIXES:
        raise ReslabError(
            f"there is no export {kind!r}: write `reslab export onnx`, `reslab export openvino` or "
            "`reslab export torch-export`."
        )
    form = OnnxArguments if kind == "onnx" else ProgramArguments
    asked = parse(form, rest, f"export {kind}", f"Write a network as {_DESCRIPTIONS[kind]}.")
    source = find_source(asked.model, asked)
    folder = run_folder(asked.model, asked)
    default = (
        folder / f"model{_SUFFIXES[kind]}" if folder else Path(f"{file_stem(asked.model, asked)}{_SUFFIXES[kind]}")
    )
    report = _export(kind, asked, source, asked.out or default)
    if asked.json:
        weights = source.name if folder else asked.weights or "fresh"
        print_json({"model": spell(source.model.spec), "weights": weights, **report.to_dict()})
        return 0
    opset = f"opset {report.opset}, " if report.opset else ""
    shape = ", ".join(map(str, report.input_shape))
    pixels = " uint8" if report.input == "uint8" else ""
    size = show_size(report.num_bytes)
    print(f"{report.path}: {size}, {opset}{report.num_nodes:,} nodes, images (batch, {shape}){pixels}")
    batches = f"{', '.join(map(str, report.batch_sizes[:-1]))} and {report.batch_sizes[-1]}"
    print(
        f"Agrees with PyTorch on batches of {batches} random images: largest difference "
        f"{report.largest_difference:.1e}, largest logit {report.largest_logit:.3g}."
    )
    return 0


def _export(kind: str, asked: ProgramArguments, source: "Source", out: Path) -> "ExportReport":
    from reslab.deploy import export_onnx, export_openvino, export_program
    from reslab.deploy.onnx_export import DEFAULT_OPSET

    known = source.normalization is not None
    pixels = known if asked.input is None else asked.input == "uint8"
    normalization = source.known_normalization() if pixels else None
    image_size = source.preprocessing.height, source.preprocessing.width
    metadata = source.metadata()
    with progress_bar() as bar:
        task = bar.add_task("Exporting", total=3)

        def tell(text: str) -> None:
            bar.update(task, description=text, advance=1)

        if isinstance(asked, OnnxArguments):
            return export_onnx(
                source.model,
                out,
                normalization=normalization,
                image_size=image_size,
                opset=DEFAULT_OPSET if asked.opset is None else asked.opset,
                metadata=metadata,
                progress=tell,
            )
        export = export_openvino if kind == "openvino" else export_program
        return export(
            source.model,
            out,
            normalization=normalization,
            image_size=image_size,
            metadata=metadata,
            progress=tell,
        )
