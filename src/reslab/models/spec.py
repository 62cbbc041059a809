"""The frozen description of a network. Importing this module imports no torch."""

from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from reslab.errors import ModelError

__all__ = ["NetSpec"]

Block = Literal["basic", "bottleneck"]
Shortcut = Literal["A", "B", "C", "avgpool", "none"]
ShortcutPadding = Literal["append", "split"]
StridePlacement = Literal["v1", "v1.5"]
Stem = Literal["cifar", "imagenet"]
Init = Literal["fan_in", "fan_out"]


@dataclass(frozen=True, kw_only=True)
class NetSpec:
    """Everything that decides a residual or plain network's shape and its initial weights.

    Two descriptions that are equal build the same network. Defaults are those of the paper's CIFAR nets (Sec. 4.2);
    `reslab.models.zoo` has the named ones.

    Raises:
        ModelError: a field has a value of the wrong type or range, or two fields contradict each other.
    """

    blocks: tuple[int, ...]
    """Number of blocks in each stage, e.g. (3, 3, 3) for ResNet-20."""
    block: Block = "basic"
    """`basic`: two 3x3 convolutions; `bottleneck`: 1x1, 3x3, 1x1 with a fourfold output (Fig. 5)."""
    widths: tuple[int, ...] = (16, 32, 64)
    """Channels of each stage, before a bottleneck's expansion."""
    shortcut: Shortcut = "A"
    """`A`: identity, strided and zero-padded where dimensions grow; `B`: 1x1 projection there; `C`: projection
    everywhere (Sec. 3.3, 4.1); `avgpool`: as A, with average pooling for the stride (KellerJordan's option "C");
    `none`: a plain net."""
    shortcut_padding: ShortcutPadding = "append"
    """Where A and avgpool put the zero channels: after the others (fb.resnet.torch) or on both sides (akamaster)."""
    stride: StridePlacement = "v1.5"
    """Which convolution of a bottleneck has the stride: the first 1x1 (`v1`, the paper) or the 3x3 (`v1.5`,
    torchvision). A basic block has it on its first convolution either way."""
    stem: Stem = "cifar"
    """`cifar`: 3x3 convolution; `imagenet`: 7x7 convolution of stride 2 and 3x3 max-pooling of stride 2."""
    num_classes: int = 10
    in_channels: int = 3
    init: Init = "fan_out"
    """He initialisation by fan-in (the paper's equation) or fan-out (fb.resnet.torch, torchvision)."""
    zero_init_residual: bool = False
    """Start the last batch norm of every residual branch at scale 0 (arXiv 1706.02677)."""

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ModelError(f"{name}={value!r} is not known: choose one of {', '.join(choices)}.")
        for name in ("blocks", "widths"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or not value or not all(_is_count(item) for item in value):
                raise ModelError(f"{name} must be a tuple of positive integers, one a stage, not {value!r}.")
        for name in ("num_classes", "in_channels"):
            value = getattr(self, name)
            if not _is_count(value):
                raise ModelError(f"{name} must be a positive integer, not {value!r}.")
        if not isinstance(self.zero_init_residual, bool):
            raise ModelError(f"zero_init_residual must be true or false, not {self.zero_init_residual!r}.")
        if len(self.blocks) != len(self.widths):
            raise ModelError(
                f"blocks={self.blocks} and widths={self.widths} must have one number a stage, but differ in length."
            )
        if self.zero_init_residual and self.shortcut == "none":
            raise ModelError("zero_init_residual needs shortcuts: in a plain net it would make every output zero.")
        if self.shortcut in ("A", "avgpool"):
            self._check_parameter_free()

    def _check_parameter_free(self) -> None:
        channels = self.stem_channels
        for width in self.widths:
            out = width * self.expansion
            if out < channels:
                raise ModelError(
                    f"shortcut {self.shortcut} can only add channels, but a stage goes from {channels} to {out}; "
                    "use shortcut B or C."
                )
            if self.shortcut_padding == "split" and (out - channels) % 2:
                raise ModelError(
                    f"shortcut_padding=split needs an even number of new channels, but a stage goes from {channels} "
                    f"to {out}; use shortcut_padding=append."
                )
            channels = out

    @property
    def expansion(self) -> int:
        """Output channels of a block, as a multiple of its stage's width."""
        return 4 if self.block == "bottleneck" else 1

    @property
    def stem_channels(self) -> int:
        """Output channels of the stem: the first stage's width."""
        return self.widths[0]

    @property
    def depth(self) -> int:
        """Number of weighted layers on the main path: the convolutions but for projections, and the classifier."""
        return 2 + sum(self.blocks) * (3 if self.block == "bottleneck" else 2)

    @property
    def downsampling(self) -> int:
        """How many times smaller the last feature map is than the input, along each side."""
        return int(2 ** (len(self.blocks) - 1)) * (4 if self.stem == "imagenet" else 1)

    def to_dict(self) -> dict[str, Any]:
        """The description as plain values, as it stands in cards and run records."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Inverse of `to_dict`.

        Raises:
            ModelError: an unknown or missing field, or a bad value.
        """
        if not isinstance(values, dict):
            raise ModelError(f"a network's description must be a table of fields, not {type(values).__name__}.")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(map(str, set(values) - known)):
            raise ModelError(f"a network's description has no field {unknown[0]!r}; it has {', '.join(sorted(known))}.")
        if "blocks" not in values:
            raise ModelError("a network's description lacks 'blocks', the number of blocks in each stage.")
        typed: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**typed)


_CHOICES: dict[str, tuple[str, ...]] = {
    "block": get_args(Block),
    "shortcut": get_args(Shortcut),
    "shortcut_padding": get_args(ShortcutPadding),
    "stride": get_args(StridePlacement),
    "stem": get_args(Stem),
    "init": get_args(Init),
}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
