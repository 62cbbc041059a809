"""What a test leaves in files: scores of every image, and a folder with pictures and tables."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reslab.analysis.fonts import fonts_for
from reslab.analysis.plots import plot_confusion, plot_contact_sheet, plot_reliability
from reslab.data.imagenet import imagenet_names, readable_name
from reslab.data.photos import PhotoSplit
from reslab.evaluation.metrics import calibrate, class_errors, confused_pairs, worst_mistakes
from reslab.evaluation.outcomes import Outcome
from reslab.files.atomic import atomic_path, write_json

__all__ = ["draw_confusion", "leave_files", "missing_glyphs", "write_report", "write_scores"]

_NUM_MISTAKES = 24
_NUM_PAIRS = 20
_ALL_UP_TO = 30  # classes that a confusion matrix shows whether they occur or not


def write_scores(outcome: Outcome, path: Path) -> None:
    """Writes `scores` (N, num_classes) float32 after the softmax, `labels` (N,) int64, or of several labels an
    image (N, num_classes), and `paths` (N,) text, which are
    files' names below the data's folder, or the images' numbers."""
    labels = outcome.data.split(outcome.role).labels
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, scores=outcome.scores, labels=labels, paths=np.array(_names(outcome)))


def draw_confusion(outcome: Outcome, path: Path) -> list[str]:
    """Draws the confusion matrix, of a thousand classes those that occur, and returns the names in it."""
    confusion, names, title = outcome.one_label.confusion, _readable(outcome), outcome.title
    occurring = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
    if len(names) > _ALL_UP_TO and len(occurring) < len(names):
        confusion, names = confusion[np.ix_(occurring, occurring)], [names[index] for index in occurring]
        title += f"\nthe {len(occurring):,} of {outcome.data.num_classes:,} classes that occur or are answered"
    plot_confusion(confusion, names, title, path)
    return [title, *names] if len(names) <= _ALL_UP_TO else [title]


def write_report(outcome: Outcome, folder: Path) -> list[str]:
    """Writes report.json, classes.csv, confusion.png, reliability.png and mistakes.png into a folder, and returns the
    names in the pictures; of several labels an image report.json and labels.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    if rows := outcome.record.get("labels"):
        write_json(folder / "report.json", outcome.record)
        _write_csv(folder / "labels.csv", rows, "average_precision")
        return []
    labels = outcome.data.split(outcome.role).labels
    calibration = calibrate(outcome.scores, labels)
    mistakes = worst_mistakes(outcome.scores, labels, _NUM_MISTAKES).tolist()
    classes = _class_rows(outcome)
    write_json(
        folder / "report.json",
        {
            **outcome.record,
            "calibration": calibration.to_dict(),
            "classes": classes,
            "confused_pairs": _pair_rows(outcome),
            "worst_mistakes": _mistake_rows(outcome, mistakes),
        },
    )
    _write_csv(folder / "classes.csv", classes, "error")
    drawn = draw_confusion(outcome, folder / "confusion.png")
    title = f"{outcome.title}, calibration error {calibration.error:.2f} %"
    plot_reliability(
        calibration.num_images, calibration.confidence, calibration.accuracy, title, folder / "reliability.png"
    )
    return drawn + _draw_mistakes(outcome, mistakes, folder / "mistakes.png")


def leave_files(outcome: Outcome, scores: Path | None, report: Path | None, confusion: Path | None) -> str:
    """Writes what is asked for of scores, report and confusion matrix; a sentence on characters that no font has."""
    drawn: list[str] = []
    if scores:
        write_scores(outcome, scores)
    if report:
        drawn += write_report(outcome, report)
    if confusion:
        drawn += draw_confusion(outcome, confusion)
    missing = missing_glyphs(drawn)
    if not missing:
        return ""
    shown = missing[:10] + ("..." if len(missing) > 10 else "")
    return (
        f"No font on this machine has the characters {shown}: they are drawn as boxes; install one that has them, such "
        "as Noto Sans CJK."
    )


def missing_glyphs(texts: Sequence[str]) -> str:
    """The characters of a picture that no font of this machine has, so that they are drawn as boxes; mostly none."""
    return "".join(fonts_for(texts)[1])


def _write_csv(path: Path, rows: Sequence[dict[str, Any]], rounded: str) -> None:
    """A table of rows with the same keys, one of which is rounded, or empty where it is None."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, tuple(rows[0]))
        writer.writeheader()
        writer.writerows(row | {rounded: "" if row[rounded] is None else f"{row[rounded]:.4f}"} for row in rows)


def _class_rows(outcome: Outcome) -> list[dict[str, Any]]:
    names = _readable(outcome)
    return [
        {"index": row.index, "class": names[row.index], "num_images": row.num_images, "error": row.error}
        for row in class_errors(outcome.one_label.confusion)
    ]


def _pair_rows(outcome: Outcome) -> list[dict[str, Any]]:
    names = _readable(outcome)
    return [
        {
            "class": names[pair.truth],
            "predicted": names[pair.predicted],
            "num_images": pair.num_images,
            "share": pair.share,
        }
        for pair in confused_pairs(outcome.one_label.confusion, _NUM_PAIRS)
    ]


def _mistake_rows(outcome: Outcome, mistakes: Sequence[int]) -> list[dict[str, Any]]:
    names, paths, labels = _readable(outcome), _names(outcome), outcome.data.split(outcome.role).labels
    return [
        {
            "path": paths[index],
            "class": names[labels[index]],
            "predicted": names[outcome.scores[index].argmax()],
            "probability": float(outcome.scores[index].max()),
        }
        for index in mistakes
    ]


def _draw_mistakes(outcome: Outcome, mistakes: Sequence[int], path: Path) -> list[str]:
    """Draws the images of whose wrong class the network is surest, and returns the captions."""
    short = [imagenet_names().get(name, name) for name in outcome.data.classes]
    labels, scores = outcome.data.split(outcome.role).labels, outcome.scores
    captions = [
        [f"{100 * float(scores[index].max()):.1f} % {short[scores[index].argmax()]}", f"true: {short[labels[index]]}"]
        for index in mistakes
    ]
    images = [_image(outcome, index) for index in mistakes]
    plot_contact_sheet(images, captions, f"{outcome.title}\nits surest mistakes", path)
    return [line for lines in captions for line in lines]


def _readable(outcome: Outcome) -> list[str]:
    return [readable_name(name) for name in outcome.data.classes]


def _names(outcome: Outcome) -> Sequence[str]:
    """Of every image."""
    split = outcome.data.split(outcome.role)
    if isinstance(split, PhotoSplit):
        # What is no Unicode in a file's name cannot be written as text.
        return [
            split.name(index).encode(errors="surrogateescape").decode(errors="replace") for index in range(len(split))
        ]
    return [str(index) for index in range(len(split))]


def _image(outcome: Outcome, index: int) -> Image.Image:
    """Small, for a picture."""
    split = outcome.data.split(outcome.role)
    if isinstance(split, PhotoSplit):
        image = split.image(index)
        image.thumbnail((320, 320))
        return image
    pixels = split.images[index]
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
