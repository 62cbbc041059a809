"""Tables 7 to 14: detection and localisation, quoted.

    reslab paper list table8

The paper's results on PASCAL VOC, COCO and ILSVRC, of Faster R-CNN with ResNet-101. Nothing of it is trained here
yet; what their ratios say is.
"""

from reslab.paper.catalogue import IMAGENET, Experiment

_TITLES = {
    7: "Detection on PASCAL VOC, baseline",
    8: "Detection on COCO, baseline",
    9: "Detection on COCO with improvements",
    10: "Detection on PASCAL VOC 2007 with improvements",
    11: "Detection on PASCAL VOC 2012 with improvements",
    12: "Detection on ILSVRC",
    13: "Localisation on ILSVRC, val",
    14: "Localisation on ILSVRC, all",
}

EXPERIMENTS = tuple(
    Experiment(
        name=f"table{number}",
        title=title,
        source=f"Table {number}",
        group="table",
        how="quoted",
        quoted=(f"table{number}",),
        setting=IMAGENET,
    )
    for number, title in _TITLES.items()
)
