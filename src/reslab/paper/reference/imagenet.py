"""The paper's numbers on ImageNet: Tables 1 to 5, counts of its networks, and the winners of the challenge."""

from reslab.paper.reference.quoted import Row, quoted_table

__all__ = ["IMAGENET_TABLES"]

_ERRORS = ("top1_error", "top5_error")
_COUNTED = "counted at 224x224: weights of all layers; multiply-adds of convolutions, projections and classifier"

_TABLE_1 = quoted_table(
    "table1",
    "Architectures for ImageNet: blocks of each stage, and multiply-adds, which the paper calls FLOPs",
    "Table 1",
    ("conv2_x_blocks", "conv3_x_blocks", "conv4_x_blocks", "conv5_x_blocks", "gmacs"),
    (
        Row("18-layer", "2 / 2 / 2 / 2 / 1.8", net="resnet18[shortcut=A]"),
        Row("34-layer", "3 / 4 / 6 / 3 / 3.6", net="resnet34[shortcut=A]"),
        Row("50-layer", "3 / 4 / 6 / 3 / 3.8", net="resnet50[stride=v1]"),
        Row("101-layer", "3 / 4 / 23 / 3 / 7.6", net="resnet101[stride=v1]"),
        Row("152-layer", "3 / 8 / 36 / 3 / 11.3", net="resnet152[stride=v1]"),
        Row("VGG-16", "- / - / - / - / 15.3", net="vgg16", source="Sec. 4.1"),
        Row("VGG-19", "- / - / - / - / 19.6", net="vgg19", source="Sec. 3.3, Fig. 3"),
    ),
)

_COUNTS = quoted_table(
    "counts-imagenet",
    "Exact numbers of parameters and multiply-adds",
    _COUNTED,
    ("parameters", "gmacs"),
    (
        Row("ResNet-18 A", "11,515,688 / 1.795", net="resnet18[shortcut=A]"),
        Row("ResNet-18 B", "11,689,512 / 1.814", net="resnet18[shortcut=B]"),
        Row("ResNet-18 C", "12,043,816 / 1.878", net="resnet18[shortcut=C]"),
        Row("ResNet-34 A", "21,623,848 / 3.644", net="resnet34[shortcut=A]"),
        Row("ResNet-34 B", "21,797,672 / 3.664", net="resnet34[shortcut=B]"),
        Row("ResNet-34 C", "22,716,840 / 3.831", net="resnet34[shortcut=C]"),
        Row("plain-18", "11,515,688 / 1.795", net="plain18"),
        Row("plain-34", "21,623,848 / 3.644", net="plain34"),
        Row("ResNet-50", "25,557,032 / 3.858", net="resnet50[stride=v1]"),
        Row("ResNet-50 v1.5", "25,557,032 / 4.089", net="resnet50"),
        Row("ResNet-50 C", "40,128,552 / 6.324", net="resnet50[shortcut=C,stride=v1]"),
        Row("ResNet-101", "44,549,160 / 7.570", net="resnet101[stride=v1]"),
        Row("ResNet-101 v1.5", "44,549,160 / 7.801", net="resnet101"),
        Row("ResNet-152", "60,192,808 / 11.282", net="resnet152[stride=v1]"),
        Row("ResNet-152 v1.5", "60,192,808 / 11.514", net="resnet152"),
        Row("VGG-16", "- / 15.470", net="vgg16"),
        Row("VGG-19", "- / 19.632", net="vgg19"),
        Row("ResNeXt-50 32x4d", "25,028,904 / 4.230", net="resnext50_32x4d"),
        Row("ResNeXt-101 32x8d", "88,791,336 / 16.414", net="resnext101_32x8d"),
        Row("ResNeXt-101 64x4d", "83,455,272 / 15.460", net="resnext101_64x4d"),
        Row("Wide ResNet-50-2", "68,883,240 / 11.398", net="wide_resnet50_2"),
        Row("Wide ResNet-101-2", "126,886,696 / 22.753", net="wide_resnet101_2"),
    ),
)

_TABLE_2 = quoted_table(
    "table2",
    "Plain and residual nets on ImageNet's validation set, 10-crop testing",
    "Table 2",
    ("top1_error",),
    (
        Row("plain-18", "27.94", net="plain18"),
        Row("plain-34", "28.54", net="plain34"),
        Row("ResNet-18", "27.88", net="resnet18[shortcut=A]"),
        Row("ResNet-34", "25.03", net="resnet34[shortcut=A]"),
    ),
)

_TABLE_3 = quoted_table(
    "table3",
    "ImageNet's validation set, 10-crop testing",
    "Table 3",
    _ERRORS,
    (
        Row("VGG-16", "28.07 / 9.33", net="vgg16"),
        Row("GoogLeNet", "- / 9.15"),
        Row("PReLU-net", "24.27 / 7.38"),
        Row("plain-34", "28.54 / 10.02", net="plain34"),
        Row("ResNet-34 A", "25.03 / 7.76", net="resnet34[shortcut=A]"),
        Row("ResNet-34 B", "24.52 / 7.46", net="resnet34[shortcut=B]"),
        Row("ResNet-34 C", "24.19 / 7.40", net="resnet34[shortcut=C]"),
        Row("ResNet-50", "22.85 / 6.71", net="resnet50[stride=v1]"),
        Row("ResNet-101", "21.75 / 6.05", net="resnet101[stride=v1]"),
        Row("ResNet-152", "21.43 / 5.71", net="resnet152[stride=v1]"),
    ),
)

_TABLE_4 = quoted_table(
    "table4",
    "Best single models on ImageNet's validation set, dense testing at several scales",
    "Table 4",
    _ERRORS,
    (
        Row("VGG'14", "- / 8.43", from_memory=True),
        Row("GoogLeNet", "- / 7.89"),
        Row("VGG v5", "24.4 / 7.1"),
        Row("PReLU-net", "21.59 / 5.71"),
        Row("BN-inception", "21.99 / 5.81"),
        Row("ResNet-34 B", "21.84 / 5.71", net="resnet34[shortcut=B]"),
        Row("ResNet-34 C", "21.53 / 5.60", net="resnet34[shortcut=C]"),
        Row("ResNet-50", "20.74 / 5.25", net="resnet50[stride=v1]"),
        Row("ResNet-101", "19.87 / 4.60", net="resnet101[stride=v1]"),
        Row("ResNet-152", "19.38 / 4.49", net="resnet152[stride=v1]"),
    ),
)

_TABLE_5 = quoted_table(
    "table5",
    "Ensembles on ImageNet's test server",
    "Table 5",
    ("top5_error",),
    (
        Row("VGG'14", "7.32"),
        Row("GoogLeNet'14", "6.66"),
        Row("VGG v5", "6.8"),
        Row("PReLU-net", "4.94"),
        Row("BN-inception", "4.82"),
        Row("ResNet", "3.57", note="six models of different depth, two of them of 152 layers"),
    ),
)

_WINNERS = quoted_table(
    "winners",
    "Winners of the ILSVRC's classification, and a human",
    "ILSVRC",
    ("top5_error",),
    (
        Row("2010", "28.2", from_memory=True),
        Row("2011", "25.8", from_memory=True, note="XRCE"),
        Row("2012", "16.4", from_memory=True, note="AlexNet"),
        Row("2012, extra data", "15.3", from_memory=True, note="AlexNet"),
        Row("2013", "11.7", from_memory=True, note="ZFNet, Clarifai"),
        Row("2014", "6.7", from_memory=True, note="GoogLeNet"),
        Row("2014, second", "7.3", from_memory=True, note="VGG"),
        Row("2015", "3.57", source="Table 5", note="ResNet"),
        Row("2016", "2.99", from_memory=True),
        Row("2017", "2.25", from_memory=True, note="SENet"),
        Row("human", "5.1", from_memory=True, note="one trained person"),
    ),
)

IMAGENET_TABLES = (_TABLE_1, _COUNTS, _TABLE_2, _TABLE_3, _TABLE_4, _TABLE_5, _WINNERS)
