"""`reslab convert`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reslab.cli.command import Command, argument
from reslab.cli.networks import net_fields, net_flags
from reslab.cli.output import JsonArguments, print_report
from reslab.fields import knob
from reslab.models.layouts import LAYOUTS, WRITABLE_LAYOUTS

_DESCRIPTION = """\
  reslab convert resnet20-12fca82f.th --model resnet20[shortcut_padding=split]
  reslab convert checkpoint.pth --model resnet50 --to timm --out resnet50-timm.safetensors
  reslab convert runs/resnet20-cifar10-cifar-paper-seed0 --to timm
  reslab convert resnet50=torchvision:V2 --to timm

torchvision's names are reslab's own. The file's wrappings and prefixes are taken off; biases of convolutions that the
network does not have are taken into the means of its batch norms. Every tensor is checked against the network."""


@dataclass(frozen=True, kw_only=True)
class Arguments(JsonArguments):
    file: Path = argument(
        help="Weights: .safetensors, or saved by torch (.pth, .th, .pt), or .caffemodel; or a run's folder, or "
        "MODEL=WEIGHTS.",
        metavar="FILE|NET",
    )
    model: str | None = knob(None, "Name or spelling of the network that they are for; a run knows it.")
    layout: str = knob("auto", "Library whose names the file has.", choices=("auto", *LAYOUTS))
    to: str = knob("torchvision", "Library whose names to write.", choices=WRITABLE_LAYOUTS)
    out: Path | None = knob(
        None, "File to write (.safetensors, .pth, .pt); by default the file's name with -torchvision.safetensors."
    )
    net: Mapping[str, str] = net_flags()


def run(asked: Arguments) -> int:
    """Reads weights with one library's names and writes them with another's."""
    from reslab.trained.conversion import convert

    report = convert(asked.file, asked.model, net_fields(asked.net), layout=asked.layout, to=asked.to, out=asked.out)
    return print_report(report, asked.json)


COMMANDS = {"": Command(Arguments, "rewrite weights with another library's names", _DESCRIPTION, run)}
