"""Pictures: curves of a run, confusion matrices, reliability, sheets of images. Drawn without a display."""

import io
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from reslab.analysis.fonts import fonts_for
from reslab.files.atomic import atomic_path
from reslab.tasks.words import ONE_LABEL_WORDS, Words

__all__ = [
    "draw_confusion_matrix",
    "draw_curves",
    "draw_reliability",
    "plot_confusion",
    "plot_contact_sheet",
    "plot_curves",
    "plot_rate_test",
    "plot_reliability",
    "save_figure",
    "svg_text",
]

_NAMES_UP_TO = 30  # classes whose names still fit along an axis
_COUNTS_UP_TO = 15  # classes whose counts still fit into the cells
_COLUMNS = 6  # of a sheet of images
_LONGEST_NAME = 26  # letters that fit under an image of a sheet, or beside a matrix


def save_figure(figure: Figure, path: Path, texts: Iterable[str] = ()) -> None:
    """Writes a figure as PNG, atomically.

    Args:
        figure: to be drawn.
        path: of the PNG.
        texts: those of the figure that may be in any script, such as names of classes; they are drawn with the fonts of
            this machine that have their characters, and as boxes where none has.
    """
    FigureCanvasAgg(figure)
    names = set(texts)
    families, _ = fonts_for(names)
    for text in figure.findobj(Text):
        if text.get_text() in names:
            text.set_fontfamily(list(families))
            text.set_parse_math(False)  # a dollar sign in a name begins no formula
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ ", UserWarning)  # `fonts_for` tells the caller
        figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})


def svg_text(figure: Figure) -> str:
    """A figure as SVG, with its text as text; the same figure gives the same SVG with the same matplotlib."""
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "reslab", "font.family": "DejaVu Sans"}
    buffer = io.StringIO()
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ ", UserWarning)  # of names in other scripts: readers have fonts
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def plot_curves(rows: Sequence[dict[str, Any]], title: str, path: Path, words: Words = ONE_LABEL_WORDS) -> None:
    """Writes `draw_curves`.

    Args:
        rows: of metrics.jsonl.
        title: of the picture.
        path: of the PNG.
        words: what the errors and the loss are called.
    """
    save_figure(draw_curves(rows, title, words), path, [title])


def draw_curves(rows: Sequence[dict[str, Any]], title: str, words: Words = ONE_LABEL_WORDS) -> Figure:
    """Training error (dashed), validation and test error (bold), loss and rate against iterations.

    Args:
        rows: of metrics.jsonl.
        title: of the picture.
        words: what the errors and the loss are called.
    """
    wrong, error = (f": {name}" if words.wrong != words.error else "" for name in (words.wrong, words.error))
    figure = Figure(figsize=(10, 4), layout="constrained")
    errors, losses = figure.subplots(1, 2)
    iterations = [row["iteration"] for row in rows]
    errors.plot(iterations, [row["train_error"] for row in rows], "--", color="C0", linewidth=1, label=f"train{wrong}")
    for name, color in (("val", "C1"), ("test", "C2")):
        points = [(row["iteration"], row[f"{name}_error"]) for row in rows if f"{name}_error" in row]
        if points:
            errors.plot(*zip(*points, strict=True), "-", color=color, linewidth=2, label=f"{name}{error}")
    ylabel = "error (%)" if words.wrong == words.error else f"{words.wrong}, {words.error} (%)"
    errors.set(xlabel="iteration", ylabel=ylabel, ylim=(0, None), title="Error")
    losses.plot(iterations, [row["loss"] for row in rows], "--", color="C0", linewidth=1, label="train")
    losses.set(xlabel="iteration", ylabel=f"{words.loss} (nats)", title="Loss and learning rate")
    rates = losses.twinx()
    rates.step(iterations, [row["learning_rate"] for row in rows], where="pre", color="0.6", linewidth=1)
    rates.set_yscale("log")
    rates.set_ylabel("learning rate", color="0.4")
    for axes in (errors, losses):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title, parse_math=False)
    return figure


def plot_rate_test(
    rates: NDArray[np.float64],
    losses: NDArray[np.float64],
    means: NDArray[np.float64],
    rate: float,
    title: str,
    path: Path,
) -> None:
    """The loss against a rising rate, and the rate that is suggested.

    Args:
        rates: (n,) of the iterations.
        losses: (n,) of the batches, in nats.
        means: (n,) the losses smoothed.
        rate: that is suggested.
        title: of the picture.
        path: of the PNG.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, ".", color="0.7", markersize=3, label="a batch")
    axes.plot(rates, means, color="C0", linewidth=2, label="smoothed")
    axes.axvline(rate, color="C3", linestyle="--", label=f"suggested: {rate:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss (nats)", title=title)
    axes.set_ylim(0, 2.5 * float(means[: len(means) // 2 + 1].max()))
    axes.legend()
    save_figure(figure, path, [title])


def plot_confusion(confusion: NDArray[np.int64], classes: Sequence[str], title: str, path: Path) -> None:
    """Writes `draw_confusion_matrix`.

    Args:
        confusion: (num_classes, num_classes) counts.
        classes: names.
        title: of the picture.
        path: of the PNG.
    """
    save_figure(draw_confusion_matrix(confusion, classes, title), path, [title, *map(_shortened, classes)])


def draw_confusion_matrix(confusion: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """A confusion matrix: rows are true classes, columns predicted ones, shades the share of the row.

    Args:
        confusion: (num_classes, num_classes) counts.
        classes: names.
        title: of the picture.
    """
    num_classes = len(classes)
    side = min(12.0, 3.0 + 0.45 * num_classes)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.75, label="share of the true class")
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(title, parse_math=False)
    names = [_shortened(name) for name in classes] if num_classes <= _NAMES_UP_TO else []
    if names:
        axes.set_xticks(range(num_classes), names, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(num_classes), names, parse_math=False)
    if num_classes <= _COUNTS_UP_TO:
        for row, column in np.argwhere(confusion > 0):
            color = "white" if shares[row, column] > 0.5 else "black"
            count = str(confusion[row, column])
            axes.text(column, row, count, ha="center", va="center", color=color, fontsize=8)
    return figure


def plot_reliability(
    num_images: NDArray[np.int64],
    confidence: NDArray[np.float64],
    accuracy: NDArray[np.float64],
    title: str,
    path: Path,
) -> None:
    """Writes `draw_reliability`.

    Args:
        num_images: (bins,) counts, the bins of equal width from 0 to 1.
        confidence: (bins,) mean confidence.
        accuracy: (bins,) share of right answers.
        title: of the picture.
        path: of the PNG.
    """
    save_figure(draw_reliability(num_images, confidence, accuracy, title), path, [title])


def draw_reliability(
    num_images: NDArray[np.int64], confidence: NDArray[np.float64], accuracy: NDArray[np.float64], title: str
) -> Figure:
    """A reliability diagram (arXiv 1706.04599): accuracy against confidence, above the share of images in each bin.

    Args:
        num_images: (bins,) counts, the bins of equal width from 0 to 1.
        confidence: (bins,) mean confidence.
        accuracy: (bins,) share of right answers.
        title: of the picture.
    """
    width = 1 / len(num_images)
    middles = (np.arange(len(num_images)) + 0.5) * width
    figure = Figure(figsize=(5, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = num_images > 0
    above.bar(middles[filled], accuracy[filled], width, color="C0", edgecolor="white", label="accuracy")
    gap = (confidence - accuracy)[filled]
    above.bar(
        middles[filled],
        gap,
        width,
        bottom=accuracy[filled],
        color="none",
        edgecolor="C3",
        hatch="//",
        label="mean confidence less accuracy",
    )
    above.plot([0, 1], [0, 1], "--", color="0.5", linewidth=1)
    above.set(ylabel="share of right answers", xlim=(0, 1), ylim=(0, 1))
    above.set_title(title, parse_math=False)
    above.legend(loc="upper left")
    below.bar(middles, 100 * num_images / max(1, num_images.sum()), width, color="0.6", edgecolor="white")
    below.set(xlabel="confidence: probability of the answer", ylabel="images (%)")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    return figure


def plot_contact_sheet(
    images: Sequence[Image.Image], captions: Sequence[Sequence[str]], title: str, path: Path
) -> None:
    """Images side by side, with lines of text under each.

    Args:
        images: RGB or grey, of any sizes.
        captions: for each image its lines; long ones are shortened.
        title: of the picture.
        path: of the PNG.
    """
    num_columns = min(_COLUMNS, max(1, len(images)))
    num_rows = max(1, -(-len(images) // num_columns))
    num_lines = max(map(len, captions), default=1)
    figure = Figure(figsize=(2.1 * num_columns, (1.9 + 0.17 * num_lines) * num_rows + 0.5), layout="constrained")
    cells = figure.subplots(num_rows, num_columns, squeeze=False)
    texts = [title]
    for axes in cells.flat:
        axes.set_axis_off()
        axes.set_anchor("S")  # captions of a row at one height
    for axes, image, lines in zip(cells.flat, images, captions, strict=False):
        small = max(image.size) < 100  # its pixels shall be seen as they are
        axes.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest" if small else "auto")
        text = "\n".join(_shortened(line) for line in lines)
        axes.text(0.5, -0.04, text, ha="center", va="top", fontsize=7, transform=axes.transAxes)
        texts.append(text)
    figure.suptitle(title, parse_math=False)
    save_figure(figure, path, texts)


def _shortened(text: str) -> str:
    """What fits: Hangul, Kana and Chinese characters are twice as wide as letters."""
    text = unicodedata.normalize("NFC", text)  # some systems spell a folder's name in parts that fonts do not join
    widths = np.cumsum([1 + (unicodedata.east_asian_width(character) in "WF") for character in text])
    if not len(widths) or widths[-1] <= _LONGEST_NAME:
        return text
    return text[: int(np.searchsorted(widths, _LONGEST_NAME - 1, side="right"))] + "…"
