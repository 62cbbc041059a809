"""The arguments by which a network is named, the same in every command."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reslab.cli.command import flags_of
from reslab.errors import ModelError, WeightsError
from reslab.fields import knob, leaves
from reslab.models.spec import NetSpec
from reslab.models.zoo import read_field

if TYPE_CHECKING:
    from reslab.api import Network

__all__ = ["NET_HELP", "NetworkArguments", "net_fields", "net_flags"]

NET_HELP = (
    "A run's folder; hub:owner/name, which was pushed there; a model's name or spelling, with its weights behind an "
    "equals sign (resnet50=torchvision:V2); weights with their card; or an exported file (.onnx, .xml)."
)


def net_flags() -> Any:
    """A field that gathers what differs from a named network's description."""
    title = "fields of the network that differ from its name's, as in MODEL[field=value]"
    return flags_of(lambda: (leaf for leaf in leaves(NetSpec) if leaf.path != "family"), title, defaults=False)


def net_fields(texts: Mapping[str, str]) -> dict[str, Any]:
    """The values of `net_flags`.

    Raises:
        ModelError: one cannot be read.
    """
    try:
        return {name: read_field(name, text) for name, text in texts.items()}
    except ModelError as error:
        raise ModelError(f"--{str(error).replace('_', '-', 1)}") from None


@dataclass(frozen=True, kw_only=True)
class NetworkArguments:
    """What a command needs to find a network."""

    weights: str | None = knob(
        None, "Weights of a model's name: a file (FILE#TABLE of several), its address, or torchvision:V2, akamaster."
    )
    mean: tuple[float, ...] | None = knob(
        None, "Mean of each channel of inputs in [0, 1], for weights without a card, as in 0.485,0.456,0.406."
    )
    std: tuple[float, ...] | None = knob(None, "Standard deviation of each channel, likewise; 1 by default.")
    classes: Path | None = knob(None, "Text file with a class a line, in the order of the outputs, likewise.")
    input_size: int | None = knob(
        None,
        "Side of the images in pixels; by default that of the run's data, or what the network was made for.",
        least=1,
        most=1 << 14,
        advanced=True,
    )
    net: Mapping[str, str] = net_flags()

    def load(self, name: str, **options: Any) -> "Network":
        """The network of a name, with what was given; see `reslab.load`."""
        from reslab.api import load

        return load(
            name,
            weights=self.weights,
            mean=self.mean,
            std=self.std,
            input_size=self.input_size,
            classes=self.classes,
            **options,
            **net_fields(self.net),
        )

    def check_learned(self, network: "Network") -> None:
        """Raises WeightsError for a model's name without weights, whose answers mean nothing."""
        if network.reference.model and network.reference.weights is None:
            raise WeightsError(
                f"{network.reference.name} is neither an exported file nor the folder of a run; for a network's name "
                "give its --weights too."
            )
