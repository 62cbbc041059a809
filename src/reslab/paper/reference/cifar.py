"""The paper's numbers on CIFAR-10: Table 6, Figure 6, and counts of its networks."""

from reslab.paper.reference.quoted import Quoted, Row, quoted_table

__all__ = ["CIFAR_ITERATIONS", "CIFAR_TABLES", "CIFAR_TEST_ERRORS"]

CIFAR_ITERATIONS = 64_000

_TABLE_6 = quoted_table(
    "table6",
    "CIFAR-10's test set, one view",
    "Table 6",
    ("num_layers", "parameters_millions", "test_error", "mean_test_error"),
    (
        Row("Maxout", "- / - / 9.38 / -"),
        Row("NIN", "- / - / 8.81 / -"),
        Row("DSN", "- / - / 8.22 / -"),
        Row("FitNet", "19 / 2.5 / 8.39 / -"),
        Row("Highway 19", "19 / 2.3 / 7.54 / 7.72 ± 0.16"),
        Row("Highway 32", "32 / 1.25 / 8.80 / -"),
        Row("ResNet-20", "20 / 0.27 / 8.75 / -", net="resnet20"),
        Row("ResNet-32", "32 / 0.46 / 7.51 / -", net="resnet32"),
        Row("ResNet-44", "44 / 0.66 / 7.17 / -", net="resnet44"),
        Row("ResNet-56", "56 / 0.85 / 6.97 / -", net="resnet56"),
        Row(
            "ResNet-110",
            "110 / 1.7 / 6.43 / 6.61 ± 0.16",
            net="resnet110",
            num_runs=5,
            note="the best of 5 runs, and their mean",
        ),
        Row("ResNet-1202", "1202 / 19.4 / 7.93 / -", net="resnet1202"),
    ),
)

_FIGURE_6 = quoted_table(
    "fig6",
    "Plain nets on CIFAR-10's test set, of which the paper prints no numbers",
    "Fig. 6 left",
    ("test_error",),
    (
        Row("plain-20", "about 9", net="plain20"),
        Row("plain-32", "about 10", net="plain32"),
        Row("plain-44", "about 12", net="plain44"),
        Row("plain-56", "about 13", net="plain56", note="13 to 13.5"),
    ),
)

_COUNTS = quoted_table(
    "counts-cifar",
    "Exact numbers of parameters and multiply-adds; plain nets have those of option A",
    "counted at 32x32: weights of all layers; multiply-adds of convolutions, projections and classifier",
    ("blocks_per_stage", "parameters", "mmacs"),
    (
        Row("ResNet-20 A", "3 / 269,722 / 40.55", net="resnet20"),
        Row("ResNet-20 B", "3 / 272,474 / -", net="resnet20[shortcut=B]"),
        Row("ResNet-20 C", "3 / 283,962 / -", net="resnet20[shortcut=C]"),
        Row("ResNet-32 A", "5 / 464,154 / 68.86", net="resnet32"),
        Row("ResNet-32 B", "5 / 466,906 / -", net="resnet32[shortcut=B]"),
        Row("ResNet-32 C", "5 / 489,594 / -", net="resnet32[shortcut=C]"),
        Row("ResNet-44 A", "7 / 658,586 / 97.17", net="resnet44"),
        Row("ResNet-44 B", "7 / 661,338 / -", net="resnet44[shortcut=B]"),
        Row("ResNet-44 C", "7 / 695,226 / -", net="resnet44[shortcut=C]"),
        Row("ResNet-56 A", "9 / 853,018 / 125.49", net="resnet56"),
        Row("ResNet-56 B", "9 / 855,770 / -", net="resnet56[shortcut=B]"),
        Row("ResNet-56 C", "9 / 900,858 / -", net="resnet56[shortcut=C]"),
        Row("ResNet-110 A", "18 / 1,727,962 / 252.89", net="resnet110"),
        Row("ResNet-110 B", "18 / 1,730,714 / -", net="resnet110[shortcut=B]"),
        Row("ResNet-110 C", "18 / 1,826,202 / -", net="resnet110[shortcut=C]"),
        Row("ResNet-1202 A", "200 / 19,421,274 / 2829.2", net="resnet1202"),
        Row("ResNet-1202 B", "200 / 19,424,026 / -", net="resnet1202[shortcut=B]"),
        Row("ResNet-1202 C", "200 / 20,538,714 / -", net="resnet1202[shortcut=C]"),
    ),
)

CIFAR_TABLES = (_TABLE_6, _FIGURE_6, _COUNTS)

CIFAR_TEST_ERRORS: dict[str, Quoted] = {
    row.net: found
    for table in (_FIGURE_6, _TABLE_6)
    for row in table.rows
    if row.net and (found := table.value(row.net, "test_error")) is not None
}
"""Test errors of the paper's networks, by their names."""
