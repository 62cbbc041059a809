"""The paper's numbers on detection and localisation: Tables 7 to 14, in mean average precision or error, in %."""

from reslab.paper.reference.quoted import Row, quoted_table

__all__ = ["DETECTION_TABLES"]

_VGG, _RESNET = "vgg16", "resnet101[stride=v1]"  # the backbones

_TABLE_7 = quoted_table(
    "table7",
    "Faster R-CNN on PASCAL VOC; trained on 07+12 and 07++12",
    "Table 7",
    ("voc07_map", "voc12_map"),
    (Row("VGG-16", "73.2 / 70.4", net=_VGG), Row("ResNet-101", "76.4 / 73.8", net=_RESNET)),
)

_TABLE_8 = quoted_table(
    "table8",
    "Faster R-CNN on COCO's validation set",
    "Table 8",
    ("map_at_50", "map"),
    (Row("VGG-16", "41.5 / 21.2", net=_VGG), Row("ResNet-101", "48.4 / 27.2", net=_RESNET)),
)

_TABLE_9 = quoted_table(
    "table9",
    "What is gained on COCO, each row with all that is in the rows above it",
    "Table 9",
    ("val_map_at_50", "val_map", "test_dev_map_at_50", "test_dev_map"),
    (
        Row("baseline, VGG-16", "41.5 / 21.2 / - / -", net=_VGG, source="Table 8"),
        Row("baseline, ResNet-101", "48.4 / 27.2 / - / -", net=_RESNET, source="Table 8"),
        Row("box refinement", "49.9 / 29.9 / - / -"),
        Row("context", "51.1 / 30.0 / 53.3? / 32.2?"),
        Row("multi-scale testing", "53.8 / 32.5 / 55.7 / 34.9"),
        Row("ensemble", "- / - / 59.0 / 37.4"),
    ),
)

_TABLE_10 = quoted_table(
    "table10",
    "PASCAL VOC 2007's test set, the COCO model fine-tuned, with all of Table 9 but the ensemble",
    "Table 10",
    ("map",),
    (
        Row("baseline, VGG-16", "73.2", net=_VGG, source="Table 7"),
        Row("baseline, ResNet-101", "76.4", net=_RESNET, source="Table 7"),
        Row("with all", "85.6"),
    ),
)

_TABLE_11 = quoted_table(
    "table11",
    "PASCAL VOC 2012's test set, the COCO model fine-tuned, with all of Table 9 but the ensemble",
    "Table 11",
    ("map",),
    (
        Row("baseline, VGG-16", "70.4", net=_VGG, source="Table 7"),
        Row("baseline, ResNet-101", "73.8", net=_RESNET, source="Table 7"),
        Row("with all", "83.8"),
    ),
)

_TABLE_12 = quoted_table(
    "table12",
    "ImageNet's detection",
    "Table 12",
    ("val2_map", "test_map"),
    (
        Row("GoogLeNet'14", "- / 43.9", from_memory=True),
        Row("ResNet-101, single", "60.5 / 58.8", net=_RESNET),
        Row("ResNet-101, ensemble", "63.6 / 62.1"),
    ),
)

_TABLE_13 = quoted_table(
    "table13",
    "Top-5 localisation error on ImageNet's validation set, with true classes and with predicted ones; which row "
    "each number belongs to is from memory",
    "Table 13",
    ("true_class_error", "predicted_class_error"),
    (
        Row("VGG-16, center crop", "33.1? / -", net=_VGG),
        Row("ResNet-101, center crop", "13.3 / -", net=_RESNET),
        Row("ResNet-101, dense", "11.7 / -"),
        Row("ResNet-101, dense, predicted classes", "- / 14.4"),
        Row("ResNet-101, dense, with R-CNN", "- / 10.6"),
        Row("ensemble", "- / 8.9"),
    ),
)

_TABLE_14 = quoted_table(
    "table14",
    "Top-5 localisation error on ImageNet",
    "Table 14",
    ("val_error", "test_error"),
    (
        Row("OverFeat", "30.0 / 29.9", from_memory=True),
        Row("GoogLeNet", "- / 26.7", from_memory=True),
        Row("VGG", "26.9 / 25.3", from_memory=True),
        Row("ResNet", "8.9 / 9.0"),
    ),
)

_SETTINGS = quoted_table(
    "detection-settings",
    "How the detectors on COCO are trained, and what Table 9's rows are",
    "Appendix A and B",
    ("value",),
    (
        Row("iterations at a rate of 0.001", "240,000", from_memory=True),
        Row("iterations at a rate of 0.0001", "80,000", from_memory=True),
        Row("images a step, region proposals", "8", from_memory=True),
        Row("images a step, detector", "16", from_memory=True),
        Row("boxes that are regressed and pooled again", "300", from_memory=True),
        Row("overlap above which non-maximum suppression drops a box", "0.3", from_memory=True),
        Row("least shorter side of multi-scale testing", "200", from_memory=True),
        Row("step of multi-scale testing's shorter sides", "200", from_memory=True),
        Row("greatest shorter side of multi-scale testing", "1,000", from_memory=True),
    ),
)

DETECTION_TABLES = (
    *(_TABLE_7, _TABLE_8, _TABLE_9, _TABLE_10, _TABLE_11, _TABLE_12, _TABLE_13, _TABLE_14),
    _SETTINGS,
)
