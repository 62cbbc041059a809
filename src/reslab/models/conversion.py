"""Files of weights rewritten with another library's names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from reslab.errors import ModelError, WeightsError
from reslab.files.atomic import atomic_path
from reslab.files.reading import naming
from reslab.files.safetensors_file import save_safetensors
from reslab.files.torch_file import save_torch_file
from reslab.models.features import FeatureNetwork
from reslab.models.layouts import LAYOUTS, WRITABLE_LAYOUTS, from_reslab_keys
from reslab.models.spec import NetSpec
from reslab.models.weight_files import split_choice
from reslab.models.weights import CARD_NAME, WEIGHTS_NAME, LoadReport, build_loaded, read_card
from reslab.models.zoo import parse_model, spell

__all__ = ["ConversionReport", "convert_network", "convert_weights", "write_state_dict"]

_SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What was read and written.

    Args:
        model: spelling of the network.
        loaded: what became of the file's tensors.
        to: library whose names were written.
        path: of the file that was written.
        num_tensors: in it.
        note: what a user must know of the weights, a sentence; or empty.
    """

    model: str
    loaded: LoadReport
    to: str
    path: Path
    num_tensors: int
    note: str = ""

    def __str__(self) -> str:
        return f"{self.loaded}.\n{self.path}: {self.num_tensors} tensors with {self.to}'s names, for {self.model}."

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "model": self.model,
            "from": self.loaded.layout,
            "to": self.to,
            "matched": self.loaded.num_matched,
            "folded_biases": list(self.loaded.folded),
            "file": str(self.path),
        }


def convert_weights(
    source: Path | str,
    model: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    layout: str = "auto",
    to: str = "torchvision",
    out: Path | str | None = None,
) -> ConversionReport:
    """Reads weights with one library's names and writes them with another's, having checked every tensor.

    Args:
        source: a file of weights, FILE#TABLE where it has several, or the folder of a run.
        model: name or spelling of the network that they are for; a run knows it.
        overrides: fields of the network that differ from the spelling's.
        layout: library whose names the file has; `auto` finds out.
        to: library whose names to write.
        out: file to write, `.safetensors`, `.pth` or `.pt`; by default beside the source.

    Raises:
        ReslabError: a file cannot be read, does not fit the network, or would be overwritten by what is made of it; or
            the library has no such networks.
    """
    path = Path(source)
    if path.is_dir() and (path / CARD_NAME).is_file():
        if model is not None:
            raise WeightsError(f"{path} says itself which network it is for; leave --model out.")
        card, path = read_card(path), path / WEIGHTS_NAME
        with naming(path.with_name(CARD_NAME), WeightsError):
            spec = NetSpec.from_dict(card.get("net"))
    elif path.is_dir():
        raise WeightsError(f"{path} is not the folder of a finished run.")
    elif model is None:
        raise WeightsError(f"which network is {path} for? Give --model, as in --model resnet20.")
    else:
        spec = parse_model(model, overrides)
    file, table = split_choice(str(path))
    names = [Path(file).stem, *filter(None, [table]), to]
    target = Path(out) if out is not None else Path(file).with_name(f"{'-'.join(names)}.safetensors")
    _check_target(target)
    if target.exists() and Path(file).exists() and target.samefile(file):
        raise WeightsError(f"{target} is the file that is read; choose another name.")
    _check_layout(to, spec)
    network, report = build_loaded(spec, path, layout)
    return _written(network, report, target, to)


def convert_network(network: FeatureNetwork, out: Path | str, *, to: str = "torchvision") -> ConversionReport:
    """Writes the weights of a network with a library's names.

    Args:
        network: whose weights are loaded.
        out: file to write, `.safetensors`, `.pth` or `.pt`.
        to: library whose names to write.

    Raises:
        ReslabError: the library has no such networks, or the file cannot be written.
    """
    _check_target(Path(out))
    _check_layout(to, network.spec)
    return _written(network, LoadReport("torchvision", tuple(network.state_dict())), Path(out), to)


def _check_target(target: Path) -> None:
    if target.suffix not in _SUFFIXES:
        raise WeightsError(f"{target} must end in one of {', '.join(_SUFFIXES)}.")


def _written(network: FeatureNetwork, loaded: LoadReport, target: Path, to: str) -> ConversionReport:
    num_tensors = write_state_dict(network, target, to)
    return ConversionReport(model=spell(network.spec), loaded=loaded, to=to, path=target, num_tensors=num_tensors)


def _check_layout(name: str, spec: NetSpec) -> None:
    """Refuses names that the network does not have in that library."""
    if name not in WRITABLE_LAYOUTS:
        raise WeightsError(
            f"nobody reads weights with the names {name!r}: choose one of {', '.join(WRITABLE_LAYOUTS)}."
        )
    kind = "vgg" if spec.family == "vgg" else "preact" if spec.order == "pre" else "resnet"
    if kind in LAYOUTS[name].networks:
        return
    others = [other for other in WRITABLE_LAYOUTS if kind in LAYOUTS[other].networks and other.startswith(name)]
    hint = f"; use --to {others[0]}" if others else ""
    served = " and ".join(LAYOUTS[name].networks)
    raise ModelError(f"--to {name} is for {served} networks, and this is a {kind}{hint}.")


def write_state_dict(model: nn.Module, path: Path, layout: str = "torchvision") -> int:
    """Writes a model's weights with a library's names, atomically.

    Args:
        model: as `create_model` builds it.
        path: ending in `.safetensors`, or in `.pth` or `.pt` for a file as torch saves it.
        layout: torchvision, timm, timm-preact, timm-vgg, akamaster or kuangliu.

    Returns:
        How many tensors were written.

    Raises:
        WeightsError: nobody reads that layout.
    """
    state = from_reslab_keys(model.state_dict(), layout)
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    with atomic_path(path) as temporary:
        if path.suffix == ".safetensors":
            save_safetensors(tensors, temporary, {"format": "pt"})
        else:
            save_torch_file(tensors, temporary)
    return len(tensors)
