"""`reslab quantize`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reslab.cli.command import Command, argument
from reslab.cli.networks import NET_HELP, NetworkArguments
from reslab.cli.output import JSON_HELP, print_report
from reslab.fields import knob

_DESCRIPTION = """\
  reslab quantize runs/resnet20-cifar10-cifar-paper-seed0
  reslab quantize resnet20 --weights weights.pth --data cifar10 --mean 0.491,0.482,0.447 --std 0.247,0.243,0.262

It is calibrated on train images, and compared with the float32 file in error and speed on the val split, or on other
train images where there is none. `reslab eval FILE --data DATA` tells its error on the test split."""


@dataclass(frozen=True, kw_only=True)
class Arguments(NetworkArguments):
    network: str = argument(help=NET_HELP.replace("; or an exported file (.onnx, .xml)", ""), metavar="NET")
    data: str | None = knob(None, "Name of a data set, or a folder of class folders; by default the run's own.")
    engine: Literal["openvino", "onnxruntime"] = knob(
        "openvino",
        "Engine of the file: OpenVINO (.xml and .bin), the faster on most processors, or ONNX Runtime (.onnx).",
    )
    images: int = knob(300, "Train images to calibrate with.", least=1)
    max_drop: float = knob(0.5, "Error, in percentage points, that the int8 network may add.", least=-100, most=100)
    force: bool = knob(False, "Write the file though it is worse or no faster.")
    out: Path | None = knob(
        None, "File to write; by default model-int8.xml (.onnx) in the run, or MODEL-int8.xml here."
    )
    threads: int | None = knob(None, "Threads to compare with; by default all available cores.", least=1)
    data_dir: Path | None = knob(None, "Folder where named data sets are looked for first.")
    json: bool = knob(False, JSON_HELP)


def run(asked: Arguments) -> int:
    """Quantises a network."""
    from reslab.deploy.quantization import Gate

    network = asked.load(asked.network)
    report = network.quantize(
        asked.out,
        data=asked.data,
        engine=asked.engine,
        num_images=asked.images,
        gate=Gate(max_drop=asked.max_drop, force=asked.force, threads=asked.threads),
        data_dir=asked.data_dir,
        progress=True,
    )
    code = print_report(report, asked.json)
    if report.forced:
        lack = "worse than allowed, or no faster"
        print(f"WARNING: this int8 network is {lack}; it was written since --force was given.", file=sys.stderr)
    return code


COMMANDS = {
    "": Command(
        Arguments, "write a network in 8-bit integers, if it is as good and faster than in float32", _DESCRIPTION, run
    )
}
