"""`reslab convert`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from reslab.cli.arguments import NetFlags, OptionalPath, parse, print_json
from reslab.errors import ModelError, WeightsError
from reslab.models import parse_model, spell

From = Literal["auto", "torchvision", "timm", "timm-preact", "timm-vgg", "akamaster", "kuangliu", "kellerjordan", "fb"]
To = Literal["torchvision", "timm", "timm-preact", "timm-vgg", "akamaster", "kuangliu"]
_SUFFIXES = (".safetensors", ".pth", ".pt")
_DESCRIPTION = """Rewrite a file of weights with other names, having checked it tensor by tensor against the network.

  reslab convert resnet20-12fca82f.th --model resnet20[shortcut_padding=split]
  reslab convert checkpoint.pth --model resnet50 --to timm --out resnet50-timm.safetensors

torchvision's names are reslab's own. The file's wrappings and prefixes are taken off, biases of convolutions that the
network has not are taken into the means of its batch norms."""


@dataclass(frozen=True)
class Arguments:
    file: Annotated[Path, tyro.conf.Positional]
    """Weights: .safetensors, or saved by torch (.pth, .th, .pt), or .caffemodel."""
    model: Annotated[str, tyro.conf.arg(metavar="TEXT")]
    """Name or spelling of the network that they are for."""
    layout: From = "auto"
    """Whose names the file has."""
    to: To = "torchvision"
    """Whose names to write."""
    out: OptionalPath = None
    """.safetensors, .pth or .pt; the file's own name with -torchvision.safetensors at its end by default."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""
    net: Annotated[NetFlags, tyro.conf.arg(name="")] = field(default_factory=NetFlags)


def main(arguments: Sequence[str]) -> int:
    """Reads weights with one library's names and writes them with another's."""
    asked = parse(Arguments, arguments, "convert", _DESCRIPTION)
    spec = parse_model(asked.model, asked.net.overrides())
    out = asked.out or asked.file.with_name(f"{asked.file.stem}-{asked.to}.safetensors")
    if out.suffix not in _SUFFIXES:
        raise WeightsError(f"--out {out} must end in one of {', '.join(_SUFFIXES)}.")
    if out.exists() and asked.file.exists() and out.samefile(asked.file):
        raise WeightsError(f"--out {out} is the file that is read; choose another name.")
    _check_layout(asked.to, spec.family, spec.order)
    from reslab.models.build import build
    from reslab.models.weights import load_weights, write_state_dict

    model = build(spec)
    report = load_weights(model, asked.file, asked.layout, replace_head=False)
    num_tensors = write_state_dict(model, out, asked.to)
    if asked.json:
        print_json(
            {
                "model": spell(spec),
                "from": report.layout,
                "to": asked.to,
                "matched": report.num_matched,
                "folded_biases": list(report.folded),
                "file": str(out),
            }
        )
    else:
        print(f"{report}.\n{out}: {num_tensors} tensors with {asked.to}'s names, for {spell(spec)}.")
    return 0


def _check_layout(layout: str, family: str, order: str) -> None:
    """Refuses names that the network does not have in that library."""
    kind = "vgg" if family == "vgg" else "preact" if order == "pre" else "resnet"
    wanted = {"timm-preact": "preact", "timm-vgg": "vgg"}.get(layout)
    if wanted and wanted != kind:
        raise ModelError(f"--to {layout} is for {wanted} networks, and this is a {kind}.")
    if layout == "timm" and kind != "resnet":
        raise ModelError(f"timm names a {kind} network's weights otherwise; use --to timm-{kind}.")
    if layout in ("akamaster", "kuangliu") and kind == "vgg":
        raise ModelError(f"--to {layout} is for residual networks, and this is a VGG.")
