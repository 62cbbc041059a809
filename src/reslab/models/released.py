"""Weights that others have published: where they are, what they need, and what error their authors report.

Importing this module imports no torch; loading does.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reslab.errors import WeightsError
from reslab.models.hub import HUB_PREFIX, fetch_from_hub
from reslab.models.spec import NetSpec
from reslab.models.zoo import base_name, parse_model

if TYPE_CHECKING:
    from reslab.models.features import FeatureNetwork
    from reslab.models.weights import LoadReport

__all__ = [
    "WeightCard",
    "cards_of",
    "find_card",
    "is_file_of_weights",
    "list_cards",
    "load_pretrained",
    "locate_weights",
]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class WeightCard:
    """A published file of weights.

    Args:
        name: `library:version`, e.g. `torchvision:V2`.
        model: spelling of the network.
        location: address of the file, or `hub:owner/name` on Hugging Face's hub.
        sha256: beginning of the file's digest; empty where its publisher states none.
        input_size: side of the crop that the network sees.
        resize: shorter side that the image is resized to first; equal to input_size for none.
        mean: of each channel, with pixels in [0, 1].
        std: of each channel.
        interpolation: of the resizing.
        license: of the file.
        top1_error: published, one central crop, in %.
        top5_error: published; None where it is not.
        source: who published them, and where the error is stated.
    """

    name: str
    model: str
    location: str
    sha256: str
    input_size: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    license: str
    top1_error: float
    top5_error: float | None
    source: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


# Model, version, beginning of the sha256 (also in the file's name), resize, top-1 and top-5 error.
_TORCHVISION = (
    ("resnet18", "V1", "f37072fd", 256, 30.242, 10.922),
    ("resnet34", "V1", "b627a593", 256, 26.686, 8.58),
    ("resnet50", "V1", "0676ba61", 256, 23.87, 7.138),
    ("resnet50", "V2", "11ad3fa6", 232, 19.142, 4.566),
    ("resnet101", "V1", "63fe2227", 256, 22.626, 6.454),
    ("resnet101", "V2", "cd907fc2", 232, 18.114, 4.22),
    ("resnet152", "V1", "394f9c45", 256, 21.688, 5.954),
    ("resnet152", "V2", "f82ba261", 232, 17.716, 3.998),
    ("resnext50_32x4d", "V1", "7cdf4587", 256, 22.382, 6.302),
    ("resnext50_32x4d", "V2", "1a0047aa", 232, 18.802, 4.66),
    ("resnext101_32x8d", "V1", "8ba56ff5", 256, 20.688, 5.474),
    ("resnext101_32x8d", "V2", "110c445d", 232, 17.166, 3.772),
    ("resnext101_64x4d", "V1", "173b62eb", 232, 16.754, 3.546),
    ("wide_resnet50_2", "V1", "95faca4d", 256, 21.532, 5.914),
    ("wide_resnet50_2", "V2", "9ba9bcbe", 232, 18.398, 4.242),
    ("wide_resnet101_2", "V1", "32ee1156", 256, 21.152, 5.716),
    ("wide_resnet101_2", "V2", "d733dc28", 232, 17.49, 3.98),
    ("vgg16", "V1", "397923af", 256, 28.408, 9.618),
    ("vgg16_bn", "V1", "6c64b313", 256, 26.64, 8.484),
    ("vgg19", "V1", "dcbb9e9d", 256, 27.624, 9.124),
    ("vgg19_bn", "V1", "c79401a0", 256, 25.782, 8.158),
)
# Model and top-1 error of the recipes A1, A2 and A3 at 224 pixels (arXiv 2110.00476).
_TIMM = (
    ("resnet18", 28.496, 29.366, 31.75),
    ("resnet34", 23.58, 24.48, 27.004),
    ("resnet50", 19.618, 20.172, 21.948),
    ("resnet101", 18.506, 18.656, 20.164),
    ("resnet152", 18.002, 18.236, 19.452),
)
_AKAMASTER = (("resnet20", "12fca82f", 8.27), ("resnet44", "014dd654", 6.90))


def list_cards() -> list[WeightCard]:
    """All cards, library by library; of one network, the oldest first."""
    cards = [
        WeightCard(
            name=f"torchvision:{version}",
            model=model,
            location=f"https://download.pytorch.org/models/{model}-{digest}.pth",
            sha256=digest,
            input_size=224,
            resize=resize,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            interpolation="bilinear",
            license="BSD-3-Clause",
            top1_error=top1,
            top5_error=top5,
            source="torchvision",
        )
        for model, version, digest, resize, top1, top5 in _TORCHVISION
    ]
    cards += [
        WeightCard(
            name=f"timm:A{number}",
            model=model,
            location=f"hub:timm/{model}.a{number}_in1k",
            sha256="",
            input_size=224,
            resize=235,  # 224 / 0.95, rounded down
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            interpolation="bicubic",
            license="Apache-2.0",
            top1_error=top1,
            top5_error=None,
            source="timm; ResNet strikes back (arXiv 2110.00476)",
        )
        for model, *errors in _TIMM
        for number, top1 in enumerate(errors, start=1)
    ]
    folder = "https://raw.githubusercontent.com/akamaster/pytorch_resnet_cifar10/master/pretrained_models"
    cards += [
        WeightCard(
            name="akamaster",
            model=f"{model}[shortcut_padding=split]",
            location=f"{folder}/{model}-{digest}.th",
            sha256=digest,
            input_size=32,
            resize=32,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            interpolation="none",
            license="BSD-2-Clause",
            top1_error=top1,
            top5_error=None,
            source="akamaster/pytorch_resnet_cifar10, lowest test error of all epochs",
        )
        for model, digest, top1 in _AKAMASTER
    ]
    return cards


def cards_of(model: str) -> list[WeightCard]:
    """The cards of a named network."""
    return [card for card in list_cards() if base_name(card.model) == model]


def find_card(model: str, weights: str) -> WeightCard:
    """The card of a named network.

    Args:
        model: its name.
        weights: `torchvision:V2`, `V2`, `IMAGENET1K_V2`, or `DEFAULT` or `torchvision` for torchvision's newest.

    Raises:
        WeightsError: there is none; the message lists those there are.
    """
    cards = cards_of(model)
    torchvisions = [card for card in cards if card.name.startswith("torchvision:")]
    wanted = weights.upper().removeprefix("IMAGENET1K_")
    if wanted in ("DEFAULT", "TORCHVISION") and torchvisions:
        return torchvisions[-1]
    for card in cards:
        if wanted in (card.name.upper(), card.name.upper().removeprefix("TORCHVISION:")):
            return card
    known = ", ".join(card.name for card in cards)
    hint = f"{model} has {known}" if known else f"none are known for {model}"
    raise WeightsError(
        f"there are no weights {weights!r}: {hint}; a file's path, its address or hub:owner/name will do as well."
    )


def locate_weights(spec: NetSpec, name: str, weights: Any, *, progress: bool = True) -> tuple[Path, WeightCard | None]:
    """The file of some weights, downloaded if need be, and its card where it has one.

    Args:
        spec: the network that they are for.
        name: of the network, whose cards are meant.
        weights: a card's name, a member of torchvision's enumeration, `hub:owner/name`, a file or its address; behind
            FILE#TABLE's number sign, one of its tables.
        progress: whether to show a download's progress.

    Returns:
        The file, with #TABLE where one is named; and the card.

    Raises:
        WeightsError: no such weights, no connection, or a card of another network.
    """
    from reslab.models.weight_files import named_as, split_choice

    text = str(weights) if isinstance(weights, str | Path) else str(getattr(weights, "name", weights))
    text, table = split_choice(text)
    path, card = _locate(spec, name, text, progress)
    return (Path(named_as(path, table)) if table else path), card


def is_file_of_weights(text: str) -> bool:
    """Whether weights are named by a file, an address or a repository, and not by a card."""
    file = text.rpartition("#")[0] or text
    return bool(Path(file).suffix) or Path(file).exists() or text.startswith(("hub:", "http://", "https://"))


def _locate(spec: NetSpec, name: str, text: str, progress: bool) -> tuple[Path, WeightCard | None]:
    from reslab.models.weight_files import fetch_weights

    if text.startswith(HUB_PREFIX):
        return fetch_from_hub(text, progress=progress), None
    if text.startswith(("http://", "https://")):
        return fetch_weights(text, progress=progress), None
    if is_file_of_weights(text):
        return Path(text), None
    card = find_card(name, text)
    _check_fits(spec, card)
    if card.location.startswith(HUB_PREFIX):
        return fetch_from_hub(card.location, progress=progress), card
    return fetch_weights(card.location, digest=card.sha256, progress=progress), card


def load_pretrained(model: "FeatureNetwork", name: str, weights: Any, *, progress: bool = True) -> "LoadReport":
    """Loads published weights, downloading them if need be, or a file of weights.

    Args:
        model: as `create_model` builds it.
        name: of the network, whose cards are meant.
        weights: as in `locate_weights`.
        progress: whether to show a download's progress.

    Raises:
        WeightsError: no such weights, no connection, or weights of another network.
    """
    from reslab.models.weights import load_weights

    path, _ = locate_weights(model.spec, name, weights, progress=progress)
    return load_weights(model, path)


# What may differ between a network and the one whose weights it takes: how it starts, what is random in training, its
# classifier, and dilation, which moves no weight.
_FREE = ("num_classes", "init", "zero_init_residual", "dropout", "branch_dropout", "stochastic_depth", "in_channels")


def _check_fits(spec: NetSpec, card: WeightCard) -> None:
    theirs = parse_model(card.model)
    for field in fields(NetSpec):
        ours, expected = getattr(spec, field.name), getattr(theirs, field.name)
        if ours != expected and field.name not in (*_FREE, "replace_stride_with_dilation"):
            raise WeightsError(
                f"{card.name} holds weights of {card.model}, which has {field.name}={expected}, not {ours}; "
                "load the file itself if that is what you want."
            )
