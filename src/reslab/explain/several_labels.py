"""What a report shows of images with several labels: each label by itself, and where the network errs most surely."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reslab.data.photos import PhotoSplit
from reslab.explain import charts
from reslab.explain.activation import class_activation
from reslab.explain.findings import Findings
from reslab.explain.neighbours import picture_of
from reslab.explain.overlay import draw_map, photo_of
from reslab.tasks.multi_label import LabelEvaluation

__all__ = ["label_rows", "surest_mistakes"]

_EVEN = 0.5
_MISTAKES, _SIDE = 12, 168


def label_rows(findings: Findings, names: Sequence[str]) -> list[dict[str, Any]]:
    """Of each label its images, its average precision, what was missed, and said without reason; the worst first."""
    evaluation, truth = findings.outcome.evaluation, findings.split.labels > 0
    said = findings.outcome.scores >= _EVEN
    assert isinstance(evaluation, LabelEvaluation)
    rows = [
        {
            "name": names[label],
            "num_images": int(truth[:, label].sum()),
            "average_precision": None if np.isnan(precision) else float(precision),
            "missed": int((truth[:, label] & ~said[:, label]).sum()),
            "false_alarms": int((said[:, label] & ~truth[:, label]).sum()),
        }
        for label, precision in enumerate(evaluation.average_precision.tolist())
    ]
    return sorted(rows, key=lambda row: (row["average_precision"] is None, row["average_precision"]))


def surest_mistakes(findings: Findings, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Labels of which the network was surest and wrong, one an image, with what spoke for them."""
    split, scores = findings.split, findings.outcome.scores
    wrong = (scores >= _EVEN) != (split.labels > 0)
    surest = np.where(wrong, np.abs(scores - _EVEN), -1.0)
    labels: NDArray[np.int64] = surest.argmax(axis=1)
    order = np.argsort(-surest.max(axis=1), kind="stable")[:_MISTAKES]
    worst = order[wrong.any(axis=1)[order]]
    if not len(worst):
        return
    pixels = split.subset(worst).read(0, len(worst))
    _, maps = class_activation(findings.trained, pixels, labels[worst][:, np.newaxis])
    for index, (drawn,) in zip(worst.tolist(), maps, strict=True):
        small, label = not isinstance(split, PhotoSplit), int(labels[index])
        whole = split.image(index) if isinstance(split, PhotoSplit) else picture_of(split, index)
        photo = photo_of(whole, findings.trained.about.preprocessing, 2 * _SIDE)
        yield {
            "index": index,
            "label": names[label],
            "has": bool(split.labels[index, label]),
            "probability": float(scores[index, label]),
            "photo": charts.picture(whole if small else photo.picture, _SIDE, enlarged=_SIDE),
            "for_label": charts.picture(draw_map(photo, drawn), _SIDE),
        }
