"""How other libraries name the weights of the networks that we build, and back; a layout is added here.

Ours are torchvision's names. A layout is a table of regular expressions; the few shapes that differ (fully-connected
layers kept as convolutions, biases of convolutions that a batch norm follows) are mended after the renaming.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from reslab.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "LAYOUTS",
    "WRITABLE_LAYOUTS",
    "fold_biases",
    "from_reslab_keys",
    "guess_layout",
    "plain_keys",
    "to_reslab_keys",
]

Value = TypeVar("Value")
Substitution = str | Callable[[re.Match[str]], str]
_WRAPPERS = ("module.", "_orig_mod.")  # DataParallel and torch.compile
_COUNT_OF_AVERAGED = "n_averaged"  # that AveragedModel keeps beside its `module`


@dataclass(frozen=True)
class Layout:
    """A library's names.

    Args:
        reading: patterns of its keys and what ours has instead, applied in order.
        writing: the way back; None where nobody reads such files any more.
        signs: keys by one of which the layout is recognised, as a pattern.
        networks: that the library names so: `resnet`, `preact`, `vgg`.
    """

    reading: tuple[tuple[str, Substitution], ...] = ()
    writing: tuple[tuple[str, Substitution], ...] | None = None
    signs: str | None = None
    networks: tuple[str, ...] = ("resnet", "preact", "vgg")


def _stage_and_block(match: re.Match[str]) -> str:
    return f"layer{int(match[1]) + 1}.{match[2]}."


def _stages_dot_blocks(match: re.Match[str]) -> str:
    return f"stages.{int(match[1]) - 1}.blocks.{match[2]}."


_KUANGLIU = Layout(
    reading=((r"^linear\.", "fc."), (r"\.shortcut\.", ".downsample.")),
    writing=((r"^fc\.", "linear."), (r"\.downsample\.", ".shortcut.")),
    signs=r"^linear\.",
    networks=("resnet", "preact"),
)
# In the order in which a file's layout is guessed.
LAYOUTS: dict[str, Layout] = {
    "kellerjordan": Layout(
        reading=(
            (r"^linear\.", "fc."),
            (r"^norm1\.", "bn1."),
            (r"^layers(\d)\.", r"layer\1."),
            (r"\.projection\.(conv\.)?", ".downsample.0."),
        ),
        signs=r"^layers\d\.",
    ),
    "kuangliu": _KUANGLIU,
    "akamaster": _KUANGLIU,
    "timm-preact": Layout(  # resnetv2_50 and its kin
        reading=(
            (r"^stem\.conv\.", "conv1."),
            (r"^stages\.(\d+)\.blocks\.(\d+)\.", _stage_and_block),
            (r"(layer\d+\.\d+)\.norm(\d)\.", r"\1.bn\2."),
            (r"\.downsample\.conv\.", ".downsample.0."),
            (r"^head\.fc\.", "fc."),
        ),
        writing=(
            (r"^conv1\.", "stem.conv."),
            (r"(layer\d+\.\d+)\.bn(\d)\.", r"\1.norm\2."),
            (r"^layer(\d+)\.(\d+)\.", _stages_dot_blocks),
            (r"\.downsample\.0\.", ".downsample.conv."),
            (r"^fc\.", "head.fc."),
        ),
        signs=r"^stages\.\d+\.blocks\.",
        networks=("preact",),
    ),
    "timm-vgg": Layout(
        reading=(
            (r"^pre_logits\.fc1\.", "classifier.0."),
            (r"^pre_logits\.fc2\.", "classifier.3."),
            (r"^head\.fc\.", "classifier.6."),
        ),
        writing=(
            (r"^classifier\.0\.", "pre_logits.fc1."),
            (r"^classifier\.3\.", "pre_logits.fc2."),
            (r"^classifier\.6\.", "head.fc."),
        ),
        signs=r"^pre_logits\.",
        networks=("vgg",),
    ),
    "fb": Layout(reading=((r"^last_linear\.", "fc."),), signs=r"^last_linear\."),  # fb.resnet.torch, converted
    "caffe": Layout(),  # the authors' release, which reslab.models.caffe reads with our names
    "timm": Layout(writing=(), networks=("resnet",)),
    "torchvision": Layout(writing=()),
}
WRITABLE_LAYOUTS = tuple(name for name, layout in LAYOUTS.items() if layout.writing is not None)


def plain_keys(state: Mapping[str, Value]) -> dict[str, Value]:
    """A state dict without the prefixes that wrappers put before every key."""
    plain = dict(state)
    if all(key.startswith("module.") for key in plain if key != _COUNT_OF_AVERAGED):
        plain.pop(_COUNT_OF_AVERAGED, None)
    while prefix := next(
        (wrapper for wrapper in _WRAPPERS if plain and all(k.startswith(wrapper) for k in plain)), None
    ):
        plain = {key.removeprefix(prefix): value for key, value in plain.items()}
    return plain


def guess_layout(keys: Iterable[str]) -> str:
    """The layout whose sign one of the keys bears; torchvision's where none does."""
    names = list(keys)
    for name, layout in LAYOUTS.items():
        if layout.signs and any(re.search(layout.signs, key) for key in names):
            return name
    return "torchvision"


def to_reslab_keys(state: Mapping[str, "Tensor"], layout: str) -> dict[str, "Tensor"]:
    """A state dict with our names, and the classifier's weights as matrices.

    Args:
        state: with a library's names, without wrappers' prefixes.
        layout: which library's, one of `LAYOUTS`.

    Raises:
        WeightsError: two of its keys have the same name with us.
    """
    renamed = _renamed(state, LAYOUTS[layout].reading)
    for key, value in renamed.items():
        if key.startswith(("fc.", "classifier.")) and value.dim() == 4:  # a convolution over the whole map
            renamed[key] = value.flatten(1)
    return renamed


def from_reslab_keys(state: Mapping[str, "Tensor"], layout: str) -> dict[str, "Tensor"]:
    """A state dict of ours with a library's names and shapes.

    Raises:
        WeightsError: nobody reads that layout.
    """
    if (writing := LAYOUTS[layout].writing) is None:
        raise WeightsError(f"cannot write the layout {layout!r}; choose one of {', '.join(WRITABLE_LAYOUTS)}.")
    renamed = _renamed(state, writing)
    for key, value in renamed.items():
        if key.endswith(".weight") and (layout == "timm-preact" and key.startswith("head.")):
            renamed[key] = value[:, :, None, None]
        elif key.endswith(".weight") and key.startswith("pre_logits."):
            side = 7 if ".fc1." in key else 1
            renamed[key] = value.reshape(len(value), -1, side, side)
    return renamed


def fold_biases(state: dict[str, "Tensor"], own_keys: Collection[str]) -> list[str]:
    """Takes biases of convolutions that the network has not into the means of the batch norms after them.

    A batch norm subtracts its mean, so that in evaluation mode x + b with the mean m is x with the mean m - b.

    Args:
        state: with our names; changed in place.
        own_keys: the network's.

    Returns:
        The biases that were taken in.
    """
    folded = []
    for key in [key for key in state if key.endswith(".bias") and key not in own_keys]:
        convolution = key.removesuffix(".bias")
        norm = re.sub(r"conv(\d)$", r"bn\1", re.sub(r"downsample\.0$", "downsample.1", convolution))
        mean = f"{norm}.running_mean"
        weight = state.get(f"{convolution}.weight")
        if (
            norm != convolution
            and mean in state
            and weight is not None
            and weight.dim() == 4
            and state[mean].shape == state[key].shape
        ):
            state[mean] = state[mean] - state.pop(key)
            folded.append(key)
    return folded


def _renamed(state: Mapping[str, "Tensor"], substitutions: tuple[tuple[str, Substitution], ...]) -> dict[str, "Tensor"]:
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        new = key
        for pattern, replacement in substitutions:
            new = re.sub(pattern, replacement, new)
        if new in renamed:
            raise WeightsError(f"two of the file's tensors would both be {new}; {key} is one of them.")
        renamed[new] = value
    return renamed
