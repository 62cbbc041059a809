"""What others than the paper's authors measured of its networks, and what libraries publish today."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import zip_longest

from reslab.paper.reference.quoted import Row, quoted_table

__all__ = ["OTHERS_TABLES"]

_DEPTHS = (18, 34, 50, 101, 152)
_AUTHORS, _FB = "authors' release", "fb.resnet.torch"


def _rows(who: str, net: str, cells: dict[int, str], num_runs: int | None = None, note: str = "") -> Iterator[Row]:
    """A row for each depth; `net` has the depth as {}."""
    family = "plain" if net.startswith("plain") else "ResNet"
    for depth, text in cells.items():
        yield Row(f"{who}, {family}-{depth}", text, net.format(depth), who, num_runs=num_runs, note=note, source=who)


def _single(who: str, net: str, texts: str, num_runs: int | None = None, note: str = "") -> Iterator[Row]:
    """Rows of one error each, for 20, 32, 44, 56, 110 and 1202 layers as far as there are any."""
    cells = dict(zip((20, 32, 44, 56, 110, 1202), texts.split(" / "), strict=False))
    return _rows(who, net, {depth: text for depth, text in cells.items() if text != "-"}, num_runs, note)


def _from_accuracies(who: str, top1: str, top5: str = "") -> Iterator[Row]:
    """One-crop errors from accuracies in %, of all depths or of the deepest."""
    depths = _DEPTHS[-len(top1.split()) :]
    note = "100 % less the published accuracy"
    for depth, *accuracies in zip_longest(depths, top1.split(), top5.split()):
        errors = [str(100 - Decimal(accuracy)) if accuracy else "-" for accuracy in accuracies]
        yield from _rows(who, "resnet{}", {depth: " / ".join([*errors, "-", "-"])}, note=note)


_IMAGENET = quoted_table(
    "others-imagenet",
    "ImageNet's validation set: the authors' release, other implementations, and later recipes",
    "as each says",
    ("top1_error", "top5_error", "top1_error_10_crop", "top5_error_10_crop"),
    (
        *_rows(
            _AUTHORS,
            "resnet{}[stride=v1]",
            {50: "24.7 / 7.8 / 22.9 / 6.7", 101: "23.6 / 7.1 / 21.8 / 6.1", 152: "23.0 / 6.7 / 21.4 / 5.7"},
        ),
        *_rows(
            _FB,
            "resnet{}",
            {
                18: "30.43 / - / 28.22 / -",
                34: "26.73 / - / 24.76 / -",
                50: "24.01 / - / 22.24 / -",
                101: "22.44 / - / 21.08 / -",
                152: "22.16 / - / 20.69 / -",
            },
        ),
        *_from_accuracies("torchvision V1", "69.758 73.314 76.130 77.374 78.312", "89.078 91.420 92.862 93.546 94.046"),
        *_from_accuracies("torchvision V2", "80.858 81.886 82.284", "95.434 95.780 96.002"),
        *_from_accuracies("timm A1", "71.504 76.420 80.382 81.494 81.998"),
        *_from_accuracies("timm A2", "70.634 75.520 79.828 81.344 81.764"),
        *_from_accuracies("timm A3", "68.250 72.996 78.052 79.836 80.548"),
    ),
)

_CIFAR = quoted_table(
    "others-cifar",
    "CIFAR-10's test set: other implementations of the paper's nets",
    "as each says",
    ("test_error",),
    (
        *_single(
            "akamaster",
            "resnet{}[shortcut_padding=split]",
            "8.27 / 7.37 / 6.90 / 6.61 / 6.32 / 6.18",
            note="the checkpoint was chosen on the test set",
        ),
        *_single("gcr", "resnet{}", "8.29 / 7.63 / 7.14 / 6.94 / 6.73"),
        *_single("TensorFlow models", "resnet{}", "- / - / - / 6.88 ± 0.2", num_runs=5),
        *_single(
            "longrootchen",
            "resnet{}",
            "8.24 / 7.38 / 7.07 / 7.01 / 6.63",
            note="trained on 45,000 images; its ResNet-1202 did not converge",
        ),
    ),
)

_LAST, _LOWEST = "after the last epoch", "the lowest test error of all epochs"
_ON_45K = "trained on 45,000 images; after the last epoch"

_REPRODUCTIONS = quoted_table(
    "reproductions",
    "CIFAR-10's test set: independent reproductions, plain nets included",
    "as each says",
    ("test_error",),
    (
        *_single("nabla0001", "plain{}", "9.78 ± 0.13 / - / - / 12.95 ± 0.22", 5, _LAST),
        *_single("nabla0001", "resnet{}", "8.51 ± 0.22 / - / - / 7.40 ± 0.27 / 7.14 ± 0.20", 5, _LAST),
        *_single("a-martyn", "plain{}", "9.5 / 9.92 / 11.35 / 12.76", 1, _LOWEST),
        *_single("a-martyn", "resnet{}", "8.0 / 7.51 / 7.38 / 7.33", 1, _LOWEST),
        *_single("wooyeolBaek", "plain{}", "9.74 / 10.41 / 11.73", 1, _ON_45K),
        *_single("wooyeolBaek", "plain{}", "- / - / - / 11.86", 1, f"{_ON_45K}; gradients clipped at norm 0.1"),
        *_single("wooyeolBaek", "resnet{}", "9.18 / 8.68 / 8.13 / 7.10 / 6.95", 1, _ON_45K),
        *_single("fish145", "plain{}", "9.90 / 13.04 / 15.55 / 14.74", 1, "Caffe, as its README says"),
        *_single("fish145", "resnet{}", "8.06 / 7.30 / 6.99 / 6.81 / 6.44", 1, "Caffe, as its README says"),
    ),
)

_FASHION_MNIST = quoted_table(
    "fashion-mnist",
    "Fashion-MNIST's test set",
    "as each says",
    ("parameters_millions", "test_error"),
    (
        Row("ResNet-18", f"- / {100 - Decimal('94.9')}", who="published"),
        Row("DenseNet-BC", f"0.77 / {100 - Decimal('95.4')}", who="published"),
        Row("WRN-28-10", f"- / {100 - Decimal('95.9')}", who="published"),
        Row("WRN-28-10 with random erasing", f"- / {100 - Decimal('96.3')}", who="published"),
        Row("WRN-40-4", f"8.9 / {100 - Decimal('96.7')}", who="published"),
    ),
)

_SPEED = quoted_table(
    "speed-records",
    "Records of training speed on CIFAR-10: seconds to an accuracy",
    "as each says",
    ("accuracy", "seconds"),
    (
        Row("ResNet-9, one V100, first", "94 / 79"),
        Row("ResNet-9, one V100, later", "94 / 26"),
        Row("airbench, one A100, first", "94 / 3.83", note="mean of many runs"),
        Row("airbench, one A100, second", "94 / 3.09", note="mean of many runs"),
        Row("airbench, one A100, third", "94 / 2.59", note="mean of many runs; 0.29 PFLOP"),
        Row("airbench, one A100, to 96 %", "96 / 27.3"),
        Row("ResNet-18, one A100, to 96 %", "96 / 420"),
        Row("hlb, on a CPU", "94.05 / 815"),
    ),
)

OTHERS_TABLES = (_IMAGENET, _CIFAR, _REPRODUCTIONS, _FASHION_MNIST, _SPEED)
