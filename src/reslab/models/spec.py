"""The frozen description of a network. Importing this module imports no torch."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Literal, Self, get_args

from reslab.errors import ModelError

__all__ = ["NetSpec"]

Family = Literal["resnet", "vgg"]
Block = Literal["basic", "bottleneck"]
Shortcut = Literal["A", "B", "C", "avgpool", "gated", "none"]
ShortcutPadding = Literal["append", "split"]
Gate = Literal["exclusive", "shortcut-only"]
Order = Literal["post", "pre"]
StridePlacement = Literal["v1", "v1.5"]
Stem = Literal["cifar", "imagenet", "deep"]
StemPool = Literal["padded", "ceil"]
Norm = Literal["batch", "group", "none"]
Activation = Literal["relu", "leaky_relu", "elu", "silu", "gelu", "tanh", "sigmoid"]
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
    """Number of blocks in each stage, e.g. (3, 3, 3) for ResNet-20; of a VGG the convolutions before each pooling."""
    family: Family = "resnet"
    """`resnet`: residual and plain nets; `vgg`: the paper's reference, with fully-connected layers at its end."""
    block: Block = "basic"
    """`basic`: two 3x3 convolutions; `bottleneck`: 1x1, 3x3, 1x1 with a fourfold output (Fig. 5)."""
    widths: tuple[int, ...] = (16, 32, 64)
    """Channels of each stage, before a bottleneck's expansion."""
    shortcut: Shortcut = "A"
    """`A`: identity, strided and zero-padded where dimensions grow; `B`: 1x1 projection there; `C`: projection
    everywhere (Sec. 3.3, 4.1); `avgpool`: as A, with average pooling for the stride (KellerJordan's option "C");
    `gated`: as A, opened and closed by a gate computed from the input (highway networks); `none`: a plain net."""
    shortcut_padding: ShortcutPadding = "append"
    """Where A, avgpool and gated put the zero channels: after the others (fb.resnet.torch) or on both sides
    (akamaster)."""
    projection_norm: bool = True
    """Batch norm after the projections of B and C; KellerJordan's nets and pre-activation nets have none."""
    projection_pool: bool = False
    """Average pooling for a projection's stride, before a 1x1 convolution without one (ResNet-D, arXiv 1812.01187)."""
    gate: Gate = "exclusive"
    """What a gated shortcut's gate g scales: the branch by g and the shortcut by 1 - g (`exclusive`, as in highway
    networks), or the shortcut alone (`shortcut-only`; both arXiv 1603.05027)."""
    gate_bias: float = -6.0
    """Initial bias of the gates: negative ones start as open shortcuts (arXiv 1603.05027 has -6 for 110 layers)."""
    order: Order = "post"
    """`post`: convolution, norm, activation (the paper); `pre`: norm, activation, convolution (arXiv 1603.05027)."""
    stride: StridePlacement = "v1.5"
    """Which convolution of a bottleneck has the stride: the first 1x1 (`v1`, the paper) or the 3x3 (`v1.5`,
    torchvision). A basic block has it on its first convolution either way."""
    stem: Stem = "cifar"
    """`cifar`: 3x3 convolution; `imagenet`: 7x7 convolution of stride 2 and 3x3 max-pooling of stride 2; `deep`: three
    3x3 convolutions in place of the 7x7 (ResNet-D)."""
    stem_pool: StemPool = "padded"
    """How the max-pooling after a 7x7 or deep stem meets the borders: padded by one pixel (torchvision), or not padded,
    with a last window over the edge (`ceil`, the authors' Caffe release)."""
    groups: int = 1
    """Groups of a bottleneck's 3x3 convolution (ResNeXt, arXiv 1611.05431)."""
    width_per_group: int = 64
    """Channels of each of these groups where the stage's width is 64, as in torchvision; 128 in a wide ResNet."""
    replace_stride_with_dilation: tuple[bool, ...] = ()
    """For each stage after the first: whether its stride is left out and its 3x3 convolutions dilated instead."""
    squeeze_excitation: int = 0
    """Factor by which squeeze-and-excitation narrows a branch's channels (arXiv 1709.01507 has 16); 0 for none."""
    norm: Norm = "batch"
    """`batch`; `group`: 32 groups, or as many as divide the channels evenly (arXiv 1803.08494); or `none`."""
    activation: Activation = "relu"
    conv_bias: bool = False
    """Biases in the convolutions, which batch norm makes superfluous (KellerJordan, VGG)."""
    dropout: float = 0.0
    """Probability before the classifier; in a VGG after each hidden fully-connected layer."""
    branch_dropout: float = 0.0
    """Probability at the end of the branch of each stage's first block (KellerJordan)."""
    stochastic_depth: float = 0.0
    """Probability with which the last block's branch is dropped in training; it grows linearly from the first block,
    which has the smallest (arXiv 1603.09382)."""
    num_classes: int = 10
    """Outputs; 0 for features without a classifier."""
    in_channels: int = 3
    init: Init = "fan_out"
    """He initialisation by fan-in (the paper's equation) or fan-out (fb.resnet.torch, torchvision)."""
    zero_init_residual: bool = False
    """Start the last batch norm of every residual branch at scale 0 (arXiv 1706.02677)."""

    def __post_init__(self) -> None:
        self._check_types()
        if len(self.blocks) != len(self.widths):
            raise ModelError(
                f"blocks={self.blocks} and widths={self.widths} must have one number a stage, but differ in length."
            )
        if self.replace_stride_with_dilation and len(self.replace_stride_with_dilation) != len(self.blocks) - 1:
            raise ModelError(
                f"replace_stride_with_dilation must have {len(self.blocks) - 1} entries, one for each stage after the "
                f"first, not {self.replace_stride_with_dilation}."
            )
        for needless, why in self._contradictions():
            if needless:
                raise ModelError(why)
        if self.family == "resnet" and self.shortcut in ("A", "avgpool", "gated"):
            self._check_parameter_free()

    def _check_types(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ModelError(f"{name}={value!r} is not known: choose one of {', '.join(choices)}.")
        for name in ("blocks", "widths"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or not value or not all(_is_count(item) for item in value):
                raise ModelError(f"{name} must be a tuple of positive integers, one a stage, not {value!r}.")
        for name in ("in_channels", "groups", "width_per_group"):
            value = getattr(self, name)
            if not _is_count(value):
                raise ModelError(f"{name} must be a positive integer, not {value!r}.")
        for name in ("num_classes", "squeeze_excitation"):
            value = getattr(self, name)
            if not _is_count(value) and not (value == 0 and isinstance(value, int) and not isinstance(value, bool)):
                raise ModelError(f"{name} must be a positive integer, or 0 for none, not {value!r}.")
        for name in ("zero_init_residual", "projection_norm", "projection_pool", "conv_bias"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ModelError(f"{name} must be true or false, not {value!r}.")
        dilated = self.replace_stride_with_dilation
        if not isinstance(dilated, tuple) or not all(isinstance(item, bool) for item in dilated):
            raise ModelError(f"replace_stride_with_dilation must be a tuple of true and false, not {dilated!r}.")
        for name in ("dropout", "branch_dropout", "stochastic_depth"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value < 1:
                raise ModelError(f"{name} is a probability: at least 0 and below 1, not {value!r}.")
        if not _is_number(self.gate_bias) or not isfinite(self.gate_bias):
            raise ModelError(f"gate_bias must be a finite number, not {self.gate_bias!r}.")

    def _contradictions(self) -> Iterator[tuple[bool, str]]:
        """Pairs of a condition that must not hold, and what to say where it does."""
        if self.family == "vgg":
            resnets_only = [
                field.name for field in fields(self) if field.name not in _VGG_FIELDS and self._is_set(field.name)
            ]
            yield bool(resnets_only), f"a VGG has no {', '.join(resnets_only)}: leave it out."
            yield (
                self.shortcut != "none" or self.stem != "imagenet",
                ("a VGG has no shortcuts and no stem of its own: it takes shortcut=none and stem=imagenet."),
            )
            return
        plain = self.shortcut == "none"
        yield (
            self.zero_init_residual and plain,
            ("zero_init_residual needs shortcuts: in a plain net it would make every output zero."),
        )
        yield self.zero_init_residual and self.norm == "none", "zero_init_residual needs a norm whose scale can be 0."
        yield (
            self.zero_init_residual and self.order == "pre",
            ("zero_init_residual needs a norm at the end of the branch, which pre-activation does not have."),
        )
        yield (
            self.stochastic_depth > 0 and plain,
            ("stochastic_depth needs shortcuts: a plain net without a block's branch has nothing left."),
        )
        yield (
            self.block == "basic" and (self.groups, self.width_per_group) != (1, 64),
            ("groups and width_per_group are a bottleneck's: a basic block takes groups=1 and width_per_group=64."),
        )
        yield self.order == "pre" and plain, "order=pre needs shortcuts: it is about what the addition sees."
        projects = self.shortcut in ("B", "C")
        yield self.projection_pool and not projects, "projection_pool needs a projection: shortcut B or C."
        yield not self.projection_norm and not projects, "projection_norm=false needs a projection: shortcut B or C."
        yield (
            self._is_set("stem_pool") and self.stem == "cifar",
            "stem_pool=ceil needs a stem that pools: imagenet or deep.",
        )
        gated = self.shortcut == "gated"
        yield self._is_set("gate") and not gated, f"gate={self.gate} needs shortcut=gated."
        yield self._is_set("gate_bias") and not gated, "gate_bias needs shortcut=gated."
        for width in self.widths:
            yield (
                self.block == "bottleneck" and self.inner_width(width) < 1,
                (f"width_per_group={self.width_per_group} leaves a stage of width {width} without channels."),
            )

    def _is_set(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).__dataclass_fields__[name].default)

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

    def inner_width(self, width: int) -> int:
        """Channels of a bottleneck's 3x3 convolution in a stage of this width."""
        return int(width * (self.width_per_group / 64.0)) * self.groups

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
        if self.family == "vgg":
            return sum(self.blocks) + 3
        stem = 3 if self.stem == "deep" else 1
        return stem + sum(self.blocks) * (3 if self.block == "bottleneck" else 2) + 1

    @property
    def usual_input_size(self) -> int:
        """Side of the images that the network was made for."""
        return 32 if self.family == "resnet" and self.stem == "cifar" else 224

    @property
    def is_random(self) -> bool:
        """Whether a training step draws random numbers: dropout or stochastic depth."""
        return max(self.dropout, self.branch_dropout, self.stochastic_depth) > 0

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
    "family": get_args(Family),
    "block": get_args(Block),
    "shortcut": get_args(Shortcut),
    "shortcut_padding": get_args(ShortcutPadding),
    "gate": get_args(Gate),
    "order": get_args(Order),
    "stride": get_args(StridePlacement),
    "stem": get_args(Stem),
    "stem_pool": get_args(StemPool),
    "norm": get_args(Norm),
    "activation": get_args(Activation),
    "init": get_args(Init),
}
_VGG_FIELDS = (
    *("family", "blocks", "widths", "norm", "activation", "conv_bias", "dropout", "num_classes", "in_channels", "init"),
    *("shortcut", "stem"),  # none and imagenet, so that no summary says otherwise
)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
