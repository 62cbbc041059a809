"""What `eval` leaves in files: scores of every image, and a folder with pictures and tables."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reslab.data.dataset import Role
from reslab.files.atomic import atomic_path, write_json

if TYPE_CHECKING:
    from PIL import Image

    from reslab.data import ImageData
    from reslab.data.photos import PhotoData
    from reslab.evaluation import Evaluation
    from reslab.evaluation.scoring import Scores

__all__ = ["Result", "draw_confusion", "warn_of_glyphs", "write_report", "write_scores"]

_NUM_MISTAKES = 24
_NUM_PAIRS = 20
_ALL_UP_TO = 30  # classes that a confusion matrix shows whether they occur or not


@dataclass(frozen=True, eq=False)
class Result:
    """A network's or an ensemble's scores on a split, and what they say.

    Args:
        title: of pictures: what was evaluated, on what and how.
        scores: (N, num_classes) probabilities.
        evaluation: of them.
        data: labelled with the scores' class indices.
        split: of the data.
        record: what --json prints of it.
    """

    title: str
    scores: "Scores"
    evaluation: "Evaluation"
    data: "ImageData | PhotoData"
    split: Role
    record: dict[str, Any]


def write_scores(result: Result, path: Path) -> None:
    """Writes `scores` (N, num_classes) float32 after the softmax, `labels` (N,) int64, and `paths` (N,) text, which are
    files' names below the data's folder, or the images' numbers."""
    import numpy as np

    labels = result.data.split(result.split).labels
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, scores=result.scores, labels=labels, paths=np.array(_names(result)))


def draw_confusion(result: Result, path: Path) -> list[str]:
    """Draws the confusion matrix, of a thousand classes those that occur, and returns the names in it."""
    import numpy as np

    from reslab.analysis.plots import plot_confusion

    confusion, names, title = result.evaluation.confusion, _readable(result), result.title
    occurring = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
    if len(names) > _ALL_UP_TO and len(occurring) < len(names):
        confusion, names = confusion[np.ix_(occurring, occurring)], [names[index] for index in occurring]
        title += f"\nthe {len(occurring):,} of {result.data.num_classes:,} classes that occur or are answered"
    plot_confusion(confusion, names, title, path)
    return [title, *names] if len(names) <= _ALL_UP_TO else [title]


def write_report(result: Result, folder: Path) -> list[str]:
    """Writes report.json, classes.csv, confusion.png, reliability.png and mistakes.png into a folder, and returns the
    names in the pictures."""
    from reslab.analysis.plots import plot_contact_sheet, plot_reliability
    from reslab.data.imagenet import imagenet_names
    from reslab.evaluation.metrics import calibrate, class_errors, confused_pairs, worst_mistakes

    folder.mkdir(parents=True, exist_ok=True)
    labels, names = result.data.split(result.split).labels, _readable(result)
    calibration = calibrate(result.scores, labels)
    classes = [
        {"index": row.index, "class": names[row.index], "num_images": row.num_images, "error": row.error}
        for row in class_errors(result.evaluation.confusion)
    ]
    pairs = confused_pairs(result.evaluation.confusion, _NUM_PAIRS)
    mistakes = worst_mistakes(result.scores, labels, _NUM_MISTAKES)
    paths = _names(result)
    answers = result.scores.argmax(axis=1)
    write_json(
        folder / "report.json",
        {
            **result.record,
            "calibration": calibration.to_dict(),
            "classes": classes,
            "confused_pairs": [
                {
                    "class": names[pair.truth],
                    "predicted": names[pair.predicted],
                    "num_images": pair.num_images,
                    "share": pair.share,
                }
                for pair in pairs
            ],
            "worst_mistakes": [
                {
                    "path": paths[index],
                    "class": names[labels[index]],
                    "predicted": names[answers[index]],
                    "probability": float(result.scores[index].max()),
                }
                for index in mistakes
            ],
        },
    )
    with atomic_path(folder / "classes.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ("index", "class", "num_images", "error"))
        writer.writeheader()
        writer.writerows(row | {"error": f"{row['error']:.4f}"} for row in classes)
    drawn = draw_confusion(result, folder / "confusion.png")
    title = f"{result.title}, calibration error {calibration.error:.2f} %"
    plot_reliability(
        calibration.num_images, calibration.confidence, calibration.accuracy, title, folder / "reliability.png"
    )
    short = [imagenet_names().get(name, name) for name in result.data.classes]
    captions = [
        [f"{100 * float(result.scores[index].max()):.1f} % {short[answers[index]]}", f"true: {short[labels[index]]}"]
        for index in mistakes
    ]
    plot_contact_sheet(
        [_image(result, int(index)) for index in mistakes],
        captions,
        f"{result.title}\nits surest mistakes",
        folder / "mistakes.png",
    )
    return drawn + [line for lines in captions for line in lines]


def warn_of_glyphs(texts: Sequence[str]) -> None:
    """Says on stderr which characters of a picture no font of this machine has."""
    from reslab.analysis.fonts import fonts_for

    _, missing = fonts_for(texts)
    if missing:
        shown = missing[:10] + ("..." if len(missing) > 10 else "")
        print(
            f"No font on this machine has the characters {shown}: they are drawn as boxes; install one that has them, "
            "such as Noto Sans CJK.",
            file=sys.stderr,
        )


def _readable(result: Result) -> list[str]:
    from reslab.data.imagenet import readable_name

    return [readable_name(name) for name in result.data.classes]


def _names(result: Result) -> Sequence[str]:
    """Of every image."""
    from reslab.data.photos import PhotoSplit

    split = result.data.split(result.split)
    if isinstance(split, PhotoSplit):
        # What is no Unicode in a file's name cannot be written as text.
        return [
            split.name(index).encode(errors="surrogateescape").decode(errors="replace") for index in range(len(split))
        ]
    return [str(index) for index in range(len(split))]


def _image(result: Result, index: int) -> "Image.Image":
    """Small, for a picture."""
    from PIL import Image

    from reslab.data.photos import PhotoSplit

    split = result.data.split(result.split)
    if isinstance(split, PhotoSplit):
        image = split.image(index)
        image.thumbnail((320, 320))
        return image
    pixels = split.images[index]
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
