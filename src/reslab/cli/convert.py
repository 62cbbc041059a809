"""`reslab convert`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reslab.cli.command import Command, argument
from reslab.cli.networks import net_fields, net_flags
from reslab.cli.output import JSON_HELP, print_json
from reslab.fields import knob

if TYPE_CHECKING:
    from reslab.models.conversion import ConversionReport

From = Literal["auto", "torchvision", "timm", "timm-preact", "timm-vgg", "akamaster", "kuangliu", "kellerjordan", "fb"]
To = Literal["torchvision", "timm", "timm-preact", "timm-vgg", "akamaster", "kuangliu"]
_DESCRIPTION = """\
  reslab convert resnet20-12fca82f.th --model resnet20[shortcut_padding=split]
  reslab convert checkpoint.pth --model resnet50 --to timm --out resnet50-timm.safetensors
  reslab convert runs/resnet20-cifar10-cifar-paper-seed0 --to timm
  reslab convert resnet50=torchvision:V2 --to timm

torchvision's names are reslab's own. The file's wrappings and prefixes are taken off; biases of convolutions that the
network does not have are taken into the means of its batch norms. Every tensor is checked against the network."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    file: Path = argument(
        help="Weights: .safetensors, or saved by torch (.pth, .th, .pt), or .caffemodel; or a run's folder, or "
        "MODEL=WEIGHTS.",
        metavar="FILE|NET",
    )
    model: str | None = knob(None, "Name or spelling of the network that they are for; a run knows it.")
    layout: From = knob("auto", "Library whose names the file has.")
    to: To = knob("torchvision", "Library whose names to write.")
    out: Path | None = knob(
        None, "File to write (.safetensors, .pth, .pt); by default the file's name with -torchvision.safetensors."
    )
    json: bool = knob(False, JSON_HELP)
    net: Mapping[str, str] = net_flags()


def run(asked: Arguments) -> int:
    """Reads weights with one library's names and writes them with another's."""
    report = _converted(asked)
    if asked.json:
        print_json(report.to_dict())
    else:
        print(f"{report.loaded}.\n{report.path}: {report.num_tensors} tensors with {report.to}'s names, ", end="")
        print(f"for {report.model}.")
    return 0


def _converted(asked: Arguments) -> "ConversionReport":
    from reslab.models.conversion import convert_weights
    from reslab.models.weights import CARD_NAME
    from reslab.trained import Reference

    file, model = asked.file, asked.model
    if model is None and not file.exists() and "=" in str(file):
        reference = Reference.parse(str(file))
        if reference.weights and Path(reference.weights).is_file():  # whose names are said, and may be given
            file, model = Path(reference.weights), reference.model
    beside_card = file.is_dir() or (file.parent / CARD_NAME).is_file()
    if model is not None or not (beside_card if file.exists() else "=" in str(file)):
        return convert_weights(file, model, net_fields(asked.net), layout=asked.layout, to=asked.to, out=asked.out)
    from reslab.api import load

    network = load(file, **net_fields(asked.net))  # as in the other commands
    report = network.convert(asked.out, to=asked.to)
    if network.about.note:
        print(network.about.note, file=sys.stderr)
    return report


COMMANDS = {"": Command(Arguments, "rewrite weights with another library's names", _DESCRIPTION, run)}
