"""The frozen description of a network. Importing this module imports no torch."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from reslab.errors import ModelError
from reslab.fields import build, check, knob, show, to_plain

__all__ = ["MOST_BLOCKS", "MOST_NUMBER", "MOST_WEIGHTS", "NetSpec"]

MOST_BLOCKS = 1 << 16
"""Of all stages together; ResNet-1202 has 600, and each takes a millisecond to build."""
MOST_WEIGHTS = 1 << 33
"""Of a network: 32 GiB in float32, a hundred times those of the largest that has a name."""
MOST_NUMBER = 1 << 31
"""In a field: more channels or classes than any machine holds, and few enough to calculate with."""

Family = Literal["resnet", "vgg"]
Block = Literal["basic", "bottleneck", "single", "triple"]
Shortcut = Literal["A", "B", "C", "avgpool", "gated", "none"]
ShortcutPadding = Literal["append", "split"]
Gate = Literal["exclusive", "shortcut-only"]
Order = Literal["post", "pre", "norm-after-addition", "relu-before-addition", "relu-only"]
StridePlacement = Literal["v1", "v1.5"]
Stem = Literal["cifar", "imagenet", "deep"]
StemPool = Literal["padded", "ceil"]
Norm = Literal["batch", "group", "none"]
Activation = Literal["relu", "leaky_relu", "elu", "silu", "gelu", "tanh", "sigmoid"]
Init = Literal["fan_in", "fan_out", "torch", "xavier", "normal", "identity", "looks-linear"]


@dataclass(frozen=True, kw_only=True)
class NetSpec:
    """Everything that decides a residual or plain network's shape and its initial weights.

    Two descriptions that are equal build the same network. Defaults are those of the paper's CIFAR nets (Sec. 4.2);
    `reslab.models.zoo` has the named ones.

    Raises:
        ModelError: a field has a value of the wrong type or range, or two fields contradict each other.
    """

    blocks: tuple[int, ...] = knob(
        help="Number of blocks in each stage, e.g. (3, 3, 3) for ResNet-20; of a VGG the convolutions before "
        "each pooling.",
        least=1,
        vgg=True,
    )
    family: Family = knob(
        "resnet",
        "resnet: residual and plain nets; vgg: the paper's reference, with fully-connected layers at its end.",
        vgg=True,
    )
    block: Block = knob(
        "basic",
        "Kind of block. basic: two 3x3 convolutions; bottleneck: 1x1, 3x3, 1x1 with a fourfold output (Fig. 5); "
        "single and triple: one and three 3x3 convolutions (Sec. 3.2).",
    )
    widths: tuple[int, ...] = knob(
        (16, 32, 64), "Channels of each stage, before a bottleneck's expansion.", least=1, vgg=True
    )
    shortcut: Shortcut = knob(
        "A",
        "A: identity, strided and zero-padded where dimensions grow; B: 1x1 projection there; C: "
        "projection everywhere (Sec. 3.3, 4.1); avgpool: as A, with average pooling for the stride "
        "(KellerJordan's option C); gated: as A, opened and closed by a gate computed from the input "
        "(highway networks); none: a plain net.",
        vgg=True,
    )
    shortcut_padding: ShortcutPadding = knob(
        "append",
        "Where A, avgpool and gated put the zero channels: after the others (fb.resnet.torch) or on both "
        "sides (akamaster).",
    )
    projection_norm: bool = knob(
        True,
        "Batch norm after the projections of B and C; KellerJordan's nets and pre-activation nets have none.",
    )
    projection_pool: bool = knob(
        False,
        "Average pooling for a projection's stride, before a 1x1 convolution without one (ResNet-D, arXiv 1812.01187).",
    )
    gate: Gate = knob(
        "exclusive",
        "What a gated shortcut's gate g scales: the branch by g and the shortcut by 1 - g (exclusive, as "
        "in highway networks), or the shortcut alone (shortcut-only; both arXiv 1603.05027).",
    )
    gate_bias: float = knob(
        -6.0,
        "Initial bias of the gates: negative ones start as open shortcuts (arXiv 1603.05027 has -6 for 110 layers).",
    )
    order: Order = knob(
        "post",
        "Order in a block. post: convolution, norm, activation (the paper); pre: norm, activation, convolution; "
        "and three that arXiv 1603.05027 tried on the way: norm-after-addition, relu-before-addition, and relu-only, "
        "with the activation before each convolution and the norm after it.",
    )
    stride: StridePlacement = knob(
        "v1.5",
        "Convolution of a bottleneck that has the stride: the first 1x1 (v1, the paper) or the 3x3 "
        "(v1.5, torchvision). A basic block has it on its first convolution either way.",
    )
    stem: Stem = knob(
        "cifar",
        "Kind of stem. cifar: 3x3 convolution; imagenet: 7x7 convolution of stride 2 and 3x3 max-pooling of stride 2; "
        "deep: three 3x3 convolutions in place of the 7x7 (ResNet-D).",
        vgg=True,
    )
    stem_pool: StemPool = knob(
        "padded",
        "How the max-pooling after a 7x7 or deep stem meets the borders: padded by one pixel "
        "(torchvision), or not padded, with a last window over the edge (ceil, the authors' Caffe "
        "release).",
    )
    groups: int = knob(1, "Groups of a bottleneck's 3x3 convolution (ResNeXt, arXiv 1611.05431).", least=1)
    width_per_group: int = knob(
        64,
        "Channels of each of these groups where the stage's width is 64, as in torchvision; 128 in a wide ResNet.",
        least=1,
    )
    replace_stride_with_dilation: tuple[bool, ...] = knob(
        (),
        "For each stage after the first: whether its stride is left out and its 3x3 convolutions dilated instead.",
    )
    squeeze_excitation: int = knob(
        0,
        "Factor by which squeeze-and-excitation narrows a branch's channels (arXiv 1709.01507 has 16); 0 for none.",
        least=0,
    )
    norm: Norm = knob(
        "batch",
        "Kind of norm: batch; group: 32 groups, or as many as divide the channels evenly (arXiv 1803.08494); or none.",
        vgg=True,
    )
    activation: Activation = knob("relu", "After every norm, and after the addition.", vgg=True)
    conv_bias: bool = knob(
        False, "Biases in the convolutions, which batch norm makes superfluous (KellerJordan, VGG).", vgg=True
    )
    dropout: float = knob(
        0.0,
        "Probability before the classifier; in a VGG after each hidden fully-connected layer.",
        least=0,
        below=1,
        vgg=True,
    )
    branch_dropout: float = knob(
        0.0, "Probability at the end of the branch of each stage's first block (KellerJordan).", least=0, below=1
    )
    stochastic_depth: float = knob(
        0.0,
        "Probability with which the last block's branch is dropped in training; it grows linearly from "
        "the first block, which has the smallest (arXiv 1603.09382).",
        least=0,
        below=1,
    )
    num_classes: int = knob(10, "Outputs; 0 for features without a classifier.", least=0, vgg=True)
    in_channels: int = knob(3, "Channels of the images: 1 for grey, 3 for colour.", least=1, vgg=True)
    init: Init = knob(
        "fan_out",
        "Initial weights of the convolutions: He's by fan-in (the paper's equation) or fan-out (fb.resnet.torch, "
        "torchvision); torch's own (kuangliu); Xavier's (arXiv 1502.01852 compares it); normal, with init_std; "
        "identity; or looks-linear, by which a plain net of ReLUs starts as a linear one (arXiv 1702.08591).",
        vgg=True,
    )
    init_std: float = knob(0.01, "Standard deviation of init=normal, as in VGG and AlexNet.", above=0, vgg=True)
    zero_init_residual: bool = knob(
        False,
        "Start the last batch norm of every residual branch at scale 0 (arXiv 1706.02677).",
    )

    def __post_init__(self) -> None:
        check(self, ModelError)
        if not self.blocks:
            raise ModelError("blocks must be numbers joined by dashes, one a stage, as in 3-4-6-3.")
        if len(self.blocks) != len(self.widths):
            raise ModelError(
                f"blocks={self.blocks} and widths={self.widths} must have one number a stage, but differ in length."
            )
        if self.replace_stride_with_dilation and len(self.replace_stride_with_dilation) != len(self.blocks) - 1:
            raise ModelError(
                f"replace_stride_with_dilation must have {len(self.blocks) - 1} entries, one for each stage after the "
                f"first, not {self.replace_stride_with_dilation}."
            )
        self._check_size()
        for needless, why in self._contradictions():
            if needless:
                raise ModelError(why)
        if self.family == "resnet" and self.shortcut in ("A", "avgpool", "gated"):
            self._check_parameter_free()

    def _check_size(self) -> None:
        """Refuses networks that no machine holds before they are built: 100 bytes of a card can ask for one."""
        for field in fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            if any(type(number) is int and number > MOST_NUMBER for number in numbers):
                raise ModelError(f"{field.name} must be numbers up to {MOST_NUMBER:,}, not {show(value)}.")
        if sum(self.blocks) > MOST_BLOCKS:
            raise ModelError(
                f"blocks={show(self.blocks)} are {sum(self.blocks):,}, and {MOST_BLOCKS:,} are built at most."
            )
        if (weights := self.least_weights) > MOST_WEIGHTS:
            asked = f"blocks={show(self.blocks)}, widths={show(self.widths)}, num_classes={self.num_classes}"
            raise ModelError(f"{asked} has more than {weights:,} weights, and {MOST_WEIGHTS:,} are built at most.")

    def _contradictions(self) -> Iterator[tuple[bool, str]]:
        """Pairs of a condition that must not hold, and what to say where it does."""
        yield self._is_set("init_std") and self.init != "normal", "init_std is that of init=normal: leave it out."
        if self.family == "vgg":
            resnets_only = [
                field.name for field in fields(self) if "vgg" not in field.metadata and self._is_set(field.name)
            ]
            yield bool(resnets_only), f"a VGG has no {', '.join(resnets_only)}: leave it out."
            yield (
                self.shortcut != "none" or self.stem != "imagenet",
                ("a VGG has no shortcuts and no stem of its own: it takes shortcut=none and stem=imagenet."),
            )
            yield self.init == "looks-linear", "init=looks-linear is for nets without hidden fully-connected layers."
            return
        plain = self.shortcut == "none"
        yield (
            self.zero_init_residual and plain,
            ("zero_init_residual needs shortcuts: in a plain net it would make every output zero."),
        )
        yield self.zero_init_residual and self.norm == "none", "zero_init_residual needs a norm whose scale can be 0."
        yield (
            self.zero_init_residual and self.order not in ("post", "relu-only"),
            (f"zero_init_residual needs a norm at the end of the branch, which order={self.order} does not have."),
        )
        yield (
            self.stochastic_depth > 0 and plain,
            ("stochastic_depth needs shortcuts: a plain net without a block's branch has nothing left."),
        )
        yield (
            self.block != "bottleneck" and (self.groups, self.width_per_group) != (1, 64),
            (f"groups and width_per_group are a bottleneck's: block={self.block} takes 1 and 64."),
        )
        reordered = self.order != "post"
        yield reordered and plain, f"order={self.order} needs shortcuts: it is about what the addition sees."
        yield (
            reordered and self.block in ("single", "triple"),
            f"block={self.block} has the paper's order: leave order={self.order} out, or take basic or bottleneck.",
        )
        yield (
            self.order == "norm-after-addition" and self.norm == "none",
            "order=norm-after-addition needs a norm.",
        )
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

    @property
    def layers_per_block(self) -> int:
        """Convolutions of a block's branch."""
        return {"single": 1, "basic": 2, "bottleneck": 3, "triple": 3}[self.block]

    def inner_width(self, width: int) -> int:
        """Channels of a bottleneck's 3x3 convolution in a stage of this width."""
        return int(width * (self.width_per_group / 64.0)) * self.groups

    @property
    def least_weights(self) -> int:
        """How many weights the network has at least: of its blocks' convolutions and its classifier."""
        if self.family == "vgg":
            hidden = 4096
            convolutions = sum(
                9 * width**2 * (count - 1) for count, width in zip(self.blocks, self.widths, strict=True)
            )
            return convolutions + hidden * (49 * self.widths[-1] + hidden + self.num_classes)
        total = 9 * self.in_channels * self.stem_channels // 2 + self.widths[-1] * self.expansion * self.num_classes
        for count, width in zip(self.blocks, self.widths, strict=True):
            inner, out = self.inner_width(width), width * self.expansion
            bottleneck = 2 * out * inner + 9 * inner**2 // self.groups
            total += (count - 1) * (bottleneck if self.block == "bottleneck" else 9 * width**2 * self.layers_per_block)
        return total

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
        return stem + sum(self.blocks) * self.layers_per_block + 1

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
        return to_plain(self)

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Inverse of `to_dict`.

        Raises:
            ModelError: an unknown or missing field, or a bad value.
        """
        made: Self = build(cls, values, ModelError, where="a network's description")
        return made
