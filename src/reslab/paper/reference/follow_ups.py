"""What later papers measured of residual nets, and of plain nets that do train."""

from decimal import Decimal

from reslab.paper.reference.quoted import Row, quoted_table

__all__ = ["FOLLOW_UP_TABLES"]

_IDENTITY = "arXiv 1603.05027"
_ISONET = "ISONet"

_SHORTCUTS = quoted_table(
    "shortcuts",
    "Shortcuts of ResNet-110 on CIFAR-10",
    f"{_IDENTITY}, Table 1",
    ("test_error",),
    (
        Row("identity", "6.61", net="resnet110", from_memory=True),
        Row("1x1 convolution", "12.22", net="resnet110[shortcut=C]", from_memory=True, note="on every shortcut"),
        Row("exclusive gating", "8.70", net="resnet110[shortcut=gated]", from_memory=True, note="bias -6"),
        Row(
            "shortcut-only gating",
            "6.91",
            net="resnet110[shortcut=gated,gate=shortcut-only]",
            from_memory=True,
            note="bias -6",
        ),
        Row("scaling by 0.5", "12.35", from_memory=True, note="the branch is scaled, too"),
    ),
)

_ORDERS = quoted_table(
    "orders",
    "Orders of convolution, norm and activation in ResNet-110 on CIFAR-10",
    f"{_IDENTITY}, Table 2",
    ("test_error",),
    (
        Row("original", "6.61", net="resnet110", from_memory=True),
        Row("BN after addition", "8.17", net="resnet110[order=norm-after-addition]", from_memory=True),
        Row("ReLU before addition", "7.84", net="resnet110[order=relu-before-addition]", from_memory=True),
        Row("ReLU-only pre-activation", "6.71", net="resnet110[order=relu-only]", from_memory=True),
        Row("full pre-activation", "6.37", net="preact_resnet110", from_memory=True),
    ),
)

_PRE_ACTIVATION = quoted_table(
    "pre-activation",
    "Pre-activation nets on CIFAR-10; those of 164 and 1001 layers are of bottlenecks, 9n + 2 layers",
    _IDENTITY,
    ("blocks_per_stage", "parameters_millions", "test_error"),
    (
        Row("110 layers", "18 / - / 6.37", net="preact_resnet110", from_memory=True),
        Row("164 layers", "18 / 1.7 / 5.46", net="preact_resnet164", from_memory=True),
        Row("1001 layers", "111 / 10.2 / 4.92", net="preact_resnet1001", from_memory=True),
    ),
)

_WITHOUT_SHORTCUTS = quoted_table(
    "without-shortcuts",
    "ResNets without their shortcuts on CIFAR-10",
    "arXiv 1712.09913",
    ("test_error",),
    (
        Row("ResNet-56 without shortcuts", "13.31", net="plain56", who="Li et al.", from_memory=True),
        Row("ResNet-110 without shortcuts", "16.44", net="plain110", who="Li et al.", from_memory=True),
    ),
)


def _isonet(depth: int, plain: str, residual: str) -> tuple[Row, Row]:
    """From top-1 accuracies in %."""
    return (
        Row(f"ISONet-{depth}", _error(plain), who=_ISONET, note=f"published as an accuracy of {plain} %"),
        Row(f"R-ISONet-{depth}", _error(residual), who=_ISONET, note=f"published as an accuracy of {residual} %"),
    )


def _error(accuracy: str) -> str:
    return str(100 - Decimal(accuracy))


_TRAINABLE_PLAIN = quoted_table(
    "trainable-plain",
    "Nets on ImageNet that train without shortcuts (ISONet), and the same with shortcuts (R-ISONet). Others are "
    "DiracNets (arXiv 1706.00388), RepVGG, and DKS and TAT (arXiv 2203.08120)",
    _ISONET,
    ("top1_error",),
    (
        *_isonet(18, "68.10", "69.17"),
        *_isonet(34, "70.90", "73.43"),
        *_isonet(50, "71.20", "76.18"),
        *_isonet(101, "71.01", "77.08"),
    ),
)

_VEIT, _YANG, _GOYAL = "arXiv 1605.06431", "arXiv 1902.08129", "arXiv 1706.02677"

_OBSERVATIONS = quoted_table(
    "observations",
    "What others found of signals and gradients, and what later changes gain",
    "as each says",
    ("value",),
    (
        Row("shortest paths of a ResNet-110 with most of the gradient, layers", "10", net="resnet110", source=_VEIT),
        Row("longest paths of a ResNet-110 with most of the gradient, layers", "34", net="resnet110", source=_VEIT),
        Row("plain layers that a looks-linear start trains, about", "200", source="arXiv 1702.08591"),
        Row("growth of gradients a layer, plain nets with BN and ReLU", "1.211", source=_YANG, from_memory=True),
        Row("points gained by the last BN of a branch starting at 0, least", "0.2", source=_GOYAL, from_memory=True),
        Row("points gained by the last BN of a branch starting at 0, most", "0.3", source=_GOYAL, from_memory=True),
        Row("points gained by v1.5's stride, about", "0.5", source="torchvision", from_memory=True),
    ),
)

FOLLOW_UP_TABLES = (_SHORTCUTS, _ORDERS, _PRE_ACTIVATION, _WITHOUT_SHORTCUTS, _TRAINABLE_PLAIN, _OBSERVATIONS)
