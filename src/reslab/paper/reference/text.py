"""Numbers of the paper's sentences, and the arithmetic behind them."""

from reslab.paper.reference.quoted import Row, quoted_table

__all__ = ["TEXT_TABLES"]

_ARITHMETIC = "Sec. 4.1, Fig. 5: arithmetic"

_TEXT = quoted_table(
    "text-numbers",
    "Numbers in sentences; shares in %, differences of errors in points",
    "the text",
    ("value",),
    (
        Row("weights of two 3x3 convolutions on 64 channels", "73,728", source=_ARITHMETIC),
        Row("weights of a bottleneck on 256-64-64-256 channels", "69,632", source=_ARITHMETIC),
        Row("weights of a bottleneck with a projection on its shortcut", "135,168", source=_ARITHMETIC),
        Row("a bottleneck with a projection over one without", "1.94", source=_ARITHMETIC),
        Row("projections that option C adds to ResNet-34", "13", source="Sec. 4.1"),
        Row("GMACs of VGG-16's convolutions alone", "15.347", source="counted at 224x224"),
        Row("share of VGG-19's multiply-adds that the 34-layer net has", "18", source="Sec. 3.3"),
        Row("times as deep as VGG nets: ResNet-152", "8", source="abstract"),
        Row("points by which ResNet-34 is better than ResNet-18", "2.8", source="Sec. 4.1"),
        Row("points by which ResNet-34 is better than plain-34", "3.5", source="Sec. 4.1"),
        Row("relative improvement on COCO", "28", source="abstract, Table 8"),
        Row("points of mAP gained on COCO", "6.0", source="Sec. 4.3, Table 8"),
        Row("top-5 error of the ensemble", "3.57", source="Sec. 1, Table 5"),
        Row("top-5 error of the best single model", "4.49", source="Sec. 4.1, Table 4"),
        Row("test error of plain-110 is over", "60", net="plain110", source="Sec. 4.2; not plotted in Fig. 6"),
        Row("training error of ResNet-1202 is below", "0.1", net="resnet1202", source="Sec. 4.2"),
        Row("training error that ends ResNet-110's warm-up", "80", net="resnet110", source="Sec. 4.2"),
        Row("iterations of ResNet-110's warm-up, about", "400", net="resnet110", source="Sec. 4.2"),
        Row("times more iterations that do not cure plain nets", "3", source="Sec. 4.1"),
        Row("iterations of training on CIFAR-10", "64,000", source="Sec. 4.2"),
        Row("iteration of CIFAR-10's first drop of the rate", "32,000", source="Sec. 4.2"),
        Row("iteration of CIFAR-10's second drop of the rate", "48,000", source="Sec. 4.2"),
        Row("epochs of training on CIFAR-10's 50,000 images", "163.84", source="Sec. 4.2: arithmetic"),
    ),
)

TEXT_TABLES = (_TEXT,)
