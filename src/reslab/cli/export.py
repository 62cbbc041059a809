"""`reslab export`."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from reslab.cli.command import Command, argument
from reslab.cli.networks import NET_HELP, NetworkArguments
from reslab.cli.output import JSON_HELP, print_report
from reslab.fields import knob

_INTRO = """Write a network as a file that runs without this package, for batches of any size.

  reslab export onnx runs/resnet20-digits-digits-quick-seed0     what a run has learned
  reslab export onnx resnet20 --weights weights.pth --mean 0.49,0.48,0.45 --std 0.25,0.24,0.26 --out net.onnx
  reslab export openvino resnet50=torchvision:V2                 OpenVINO's .xml, with the weights in a .bin beside it
  reslab export torch-export resnet50=torchvision:V2             a .pt2 for torch.export.load"""
_DESCRIPTION = """\
  reslab export {0} runs/resnet20-digits-digits-quick-seed0
  reslab export {0} resnet50=torchvision:V2

The file is run on random images and compared with PyTorch, and written only if the two agree. Its input `images` is
what a decoder gives, (batch, height, width, channels) in uint8, where it is known how the network's inputs are
normalised: for runs, for released weights, and with --mean. Elsewhere, and with --input float, it is (batch, channels,
height, width) in float32, normalised as in training. Its output `logits` is (batch, classes). The file says which
classes it knows and how an image of any size becomes its input (`reslab predict` does that)."""


@dataclass(frozen=True, kw_only=True)
class Arguments(NetworkArguments):
    network: str = argument(help=NET_HELP.replace("; or an exported file (.onnx, .xml)", ""), metavar="NET")
    out: Path | None = knob(None, "File to write; by default model.onnx (.xml, .pt2) in the run, or MODEL.onnx here.")
    input: Literal["uint8", "float"] | None = knob(
        None,
        "Kind of the input: pixels (by default where mean and std are known), or images normalised as in training.",
    )
    json: bool = knob(False, JSON_HELP)


@dataclass(frozen=True, kw_only=True)
class OnnxArguments(Arguments):
    opset: int | None = knob(None, "Version of ONNX's operators: 18, which the most runtimes read, or later.", least=1)


def run(kind: str, asked: Arguments) -> int:
    """Exports a network."""
    network = asked.load(asked.network)
    if network.about.note:
        print(network.about.note, file=sys.stderr)
    opset = asked.opset if isinstance(asked, OnnxArguments) else None
    report = network.export(asked.out, format=kind, input=asked.input, opset=opset, progress=True)
    reference = network.reference
    weights = str(reference.folder or reference.weights or "fresh")
    return print_report(report, asked.json, model=network.about.model, weights=weights)


INTRO = _INTRO
COMMANDS = {
    kind: Command(form, summary, _DESCRIPTION.format(kind), partial(run, kind))
    for kind, form, summary in (
        ("onnx", OnnxArguments, "a network as an ONNX file"),
        ("openvino", Arguments, "a network as an OpenVINO file"),
        ("torch-export", Arguments, "a network as a torch.export program"),
    )
}
