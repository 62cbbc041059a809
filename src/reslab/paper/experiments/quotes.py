"""What the text says of the paper's own numbers: ratios and differences of quoted rows.

    reslab paper run quotes

Nothing is trained and nothing measured: the numbers of Tables 2 to 8 are put beside one another. ResNet-152 alone has a
lower top-5 error than all earlier ensembles; on COCO the deeper net gains 28 % relative; ResNet-34 is 2.8 points better
than ResNet-18 and 3.5 better than plain-34.
"""

from reslab.paper.catalogue import IMAGENET, Arm, Column, Experiment, Measure
from reslab.paper.claims import Less, Ratio

_ROWS = {
    "ResNet-152, single": ("table4", "ResNet-152"),
    "VGG'14, ensemble": ("table5", "VGG'14"),
    "GoogLeNet'14, ensemble": ("table5", "GoogLeNet'14"),
    "VGG v5, ensemble": ("table5", "VGG v5"),
    "PReLU-net, ensemble": ("table5", "PReLU-net"),
    "BN-inception, ensemble": ("table5", "BN-inception"),
    "ResNet, ensemble": ("table5", "ResNet"),
    "a human": ("winners", "human"),
    "plain-34": ("table2", "plain-34"),
    "ResNet-18": ("table2", "ResNet-18"),
    "ResNet-34": ("table2", "ResNet-34"),
    "VGG-16 on COCO": ("table8", "VGG-16"),
    "ResNet-101 on COCO": ("table8", "ResNet-101"),
}
_EARLIER = [name for name in _ROWS if name.endswith("ensemble") and not name.startswith("ResNet")]

EXPERIMENT = Experiment(
    name="quotes",
    title="What the text says of the tables",
    source="Abstract, Sec. 4.1, 4.3",
    group="text",
    how="computed",
    arms=tuple(Arm(name=name, options={"table": table, "row": row}) for name, (table, row) in _ROWS.items()),
    measures=(Measure(name="quotes"),),
    columns=(
        Column(value="top1_error", heading="top-1 error %"),
        Column(value="top5_error", heading="top-5 error %"),
        Column(value="map", heading="mAP, COCO's metric, %", digits=1),
    ),
    setting=IMAGENET,
    claims=(
        *(
            Less(
                text=f"A single ResNet-152 has a lower top-5 error than {name.removesuffix(', ensemble')}'s ensemble",
                source="Sec. 4.1: it outperforms all previous ensemble results",
                value="top5_error",
                higher=name,
                lower="ResNet-152, single",
            )
            for name in _EARLIER
        ),
        Less(
            text="The ensemble of ResNets errs less than a trained human",
            source="Table 5: 3.57; the human's 5.1 is quoted from elsewhere",
            value="top5_error",
            higher="a human",
            lower="ResNet, ensemble",
        ),
        Ratio(
            text="On COCO ResNet-101 gains 28 % relative over VGG-16",
            source="Abstract, Sec. 4.3",
            value="map",
            over="ResNet-101 on COCO",
            under="VGG-16 on COCO",
            least=1.275,
            most=1.285,
        ),
        Less(
            text="ResNet-34 is 2.8 points better than ResNet-18",
            source="Sec. 4.1, Table 2",
            value="top1_error",
            higher="ResNet-18",
            lower="ResNet-34",
            margin=2.75,
        ),
        Less(
            text="... and 3.5 better than plain-34",
            source="Sec. 4.1, Table 2",
            value="top1_error",
            higher="plain-34",
            lower="ResNet-34",
            margin=3.45,
        ),
    ),
)
