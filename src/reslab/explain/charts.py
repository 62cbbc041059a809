"""A report's pictures: drawings as SVG, and photos as data within the page."""

import base64
import io
import math
import textwrap
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from reslab.analysis.pages import inline_svg
from reslab.analysis.plots import draw_confusion_matrix, draw_curves, draw_reliability, svg_text
from reslab.data.dataset import Labels, Samples
from reslab.evaluation.metrics import Calibration
from reslab.explain.embedding import Features
from reslab.explain.neighbours import picture_of
from reslab.paper.figures.style import COLORS, legend, new_figure
from reslab.tasks.words import Words

__all__ = ["Picture", "confusion", "curves", "map_of_images", "picture", "places", "reliability", "thumbnail"]

THUMBNAIL = 144
"""Pixels of a photo's longer side on the page."""

_SMALL = 64  # up to which a picture is shown by whole squares
_QUALITY = 80
_MOST_MAPPED = 2000  # images of an embedding: more cannot be told apart, and t-SNE takes as long as it is said to
_FEW = 10
_EXACT = 400  # images up to which t-SNE's exact gradients are faster than approximate ones
_PERPLEXITY = 30.0
_OTHERS = "#b8bcc2"
_LONGEST = 28


@dataclass(frozen=True)
class Picture:
    """An image within a page.

    Args:
        source: its data, as an address.
        width: at which it is shown, in pixels.
        height: likewise.
        small: whether its pixels are shown as squares.
    """

    source: str
    width: int
    height: int
    small: bool


def picture(image: Image.Image, side: int = THUMBNAIL, *, enlarged: float = 3.0) -> Picture:
    """A picture for a page, its longer side that long; small images are kept whole and enlarged by the reader.

    Args:
        image: to show.
        side: in pixels.
        enlarged: how many times as large as it is a small image is shown at most.
    """
    small = max(image.size) <= _SMALL
    stream = io.BytesIO()
    scale = min(side / max(image.size), enlarged if small else math.inf)
    width, height = (max(1, round(length * scale)) for length in image.size)
    if small:
        image.save(stream, "PNG", optimize=True)
    else:
        kept = image if scale >= 1 else image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
        kept.convert("RGB").save(stream, "JPEG", quality=_QUALITY)
    kind = "png" if small else "jpeg"
    return Picture(f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}", width, height, small)


def thumbnail(split: Samples, index: int, side: int = THUMBNAIL) -> Picture:
    """An image of a split, for a page."""
    return picture(picture_of(split, index, 2 * side), side)


def curves(rows: list[dict[str, float]], words: Words) -> Markup:
    """Errors, loss and rate over a training."""
    return _markup(draw_curves(rows, "", words))


def reliability(calibration: Calibration) -> Markup:
    """Accuracy against confidence."""
    return _markup(draw_reliability(calibration.num_images, calibration.confidence, calibration.accuracy, ""))


def confusion(counts: NDArray[np.int64], names: list[str]) -> Markup:
    """The confusion matrix of the classes given."""
    return _markup(draw_confusion_matrix(counts, names, ""))


def places(features: Features) -> tuple[NDArray[np.int64], NDArray[np.float64], str]:
    """Images in the plane, so that like ones lie near each other.

    Args:
        features: (N, channels).

    Returns:
        (M,) indices of the images that are shown, (M, 2) places, and the method's name.
    """
    chosen = np.arange(len(features))
    if len(chosen) > _MOST_MAPPED:
        chosen = np.sort(np.random.default_rng(0).permutation(len(features))[:_MOST_MAPPED])
    seen = features[chosen].astype(np.float64)
    if len(seen) < _FEW or not seen.std(axis=0).any():
        from sklearn.decomposition import PCA

        parts = min(2, *seen.shape)
        found = PCA(parts).fit_transform(seen) if len(seen) > 1 and seen.std(axis=0).any() else np.zeros((len(seen), 2))
        return chosen, np.pad(found, ((0, 0), (0, 2 - found.shape[1]))), "PCA"
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(seen) - 1) / 3)
    method = "exact" if len(seen) <= _EXACT else "barnes_hut"
    found = TSNE(perplexity=perplexity, init="random", method=method, random_state=0).fit_transform(seen)
    return chosen, found.astype(np.float64), "t-SNE"


def map_of_images(
    points: NDArray[np.float64], labels: Labels, wrong: NDArray[np.bool_], names: list[str], shown: list[int]
) -> Markup:
    """Images as points, coloured by class.

    Args:
        points: (M, 2).
        labels: (M,) classes.
        wrong: (M,) whether the network's answer is another class.
        names: of all classes.
        shown: classes that have a colour; the others are grey.
    """
    figure = new_figure(6.4, 6.4)
    axes = figure.subplots()
    size = 26 if len(points) < 500 else 12
    others = ~np.isin(labels, shown)
    if others.any():
        axes.scatter(
            points[others, 0], points[others, 1], s=size / 2, color=_OTHERS, linewidths=0, label="other classes"
        )
    for place, index in enumerate(shown):
        own = points[labels == index]
        name = textwrap.shorten(names[index], _LONGEST, placeholder="…") or names[index][:_LONGEST]
        # A name that begins with an underscore has no entry in a legend, and a dollar sign begins a formula.
        label = name.replace("$", r"\$").removeprefix("_") or "class"
        axes.scatter(
            own[:, 0], own[:, 1], s=size, color=COLORS[place % len(COLORS)], linewidths=0, alpha=0.85, label=label
        )
    if wrong.any():
        axes.scatter(
            points[wrong, 0],
            points[wrong, 1],
            s=3 * size,
            facecolors="none",
            edgecolors="black",
            linewidths=0.8,
            label="wrong answer",
        )
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    legend(axes, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, frameon=False)
    return _markup(figure)


def _markup(figure: Figure) -> Markup:
    return inline_svg(svg_text(figure))
