"""Understanding a trained network: why it answers what it answers, and a report about a finished run.

Importing this package imports no torch; its names do.
"""

from typing import TYPE_CHECKING

from reslab.lazy import lazy_names

if TYPE_CHECKING:
    from reslab.explain.activation import class_activation
    from reslab.explain.embedding import Embedding, embed, nearest
    from reslab.explain.explanation import ClassMap, Explanation, explain
    from reslab.explain.labels import SuspiciousLabels, suspicious_labels
    from reslab.explain.neighbours import Neighbour
    from reslab.explain.occlusion import occlusion_maps
    from reslab.explain.report import RunReport, report_run

__all__ = [
    "ClassMap",
    "Embedding",
    "Explanation",
    "Neighbour",
    "RunReport",
    "SuspiciousLabels",
    "class_activation",
    "embed",
    "explain",
    "nearest",
    "occlusion_maps",
    "report_run",
    "suspicious_labels",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "class_activation": "reslab.explain.activation",
        **dict.fromkeys(("Embedding", "embed", "nearest"), "reslab.explain.embedding"),
        **dict.fromkeys(("ClassMap", "Explanation", "explain"), "reslab.explain.explanation"),
        **dict.fromkeys(("SuspiciousLabels", "suspicious_labels"), "reslab.explain.labels"),
        "Neighbour": "reslab.explain.neighbours",
        "occlusion_maps": "reslab.explain.occlusion",
        **dict.fromkeys(("RunReport", "report_run"), "reslab.explain.report"),
    },
)
