"""A picture of networks side by side, in the manner of the paper's Fig. 3."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve

from reslab.analysis.architecture import Architecture, Row, Shortcut, Size
from reslab.errors import ModelError
from reslab.files.atomic import atomic_path

__all__ = ["check_suffix", "draw", "make_figure"]

_SUFFIXES = (".svg", ".png", ".pdf")
# Drawing; all lengths are in inches
_NARROWEST_BOX, _BOX_HEIGHT = 1.75, 0.25
_GAP, _BLOCK_GAP, _SECTION_GAP = 0.12, 0.28, 0.36
_HEADER = 0.62  # from the names to the first box
_BULGE = 0.42  # of a shortcut's curve
_SIZES_WIDTH = 1.0  # left of the first network, where the output sizes stand
_FONT, _SMALL_FONT = 8.0, 6.5  # points
_BOLD_FONT = 1.1 * _FONT  # as wide as a plain one of this size
_CHARACTER = 0.6 / 72  # width of a character of one point, at most

# By stage; the first six are those of ImageNet's maps of 224, 112, 56, 28, 14 and 7. Light, for the text on them.
_COLORS = ("#dddddd", "#f6c9a0", "#cdbfe3", "#bfe0b4", "#f2b8b5", "#b5d3ef", "#f3e3a1", "#b9e3dc")
_EDGE, _FAINT = "#333333", "#bbbbbb"


def check_suffix(path: Path) -> None:
    """Raises ModelError unless `draw` can write a file of this name."""
    if path.suffix.lower() not in _SUFFIXES:
        raise ModelError(f"a picture's name must end in {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}, not {path}.")


def draw(architectures: Sequence[Architecture], path: Path) -> None:
    """Draws networks side by side into a file.

    The same networks give the same file, byte by byte, with the same version of matplotlib.

    Args:
        architectures: from left to right.
        path: of the picture; its suffix says whether SVG (with text as text), PNG or PDF.

    Raises:
        ModelError: another suffix.
    """
    check_suffix(path)
    kind = path.suffix.lower().removeprefix(".")
    metadata: dict[str, Any] = {
        "svg": {"Date": None, "Creator": None},
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }[kind]
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "reslab", "font.family": "DejaVu Sans"}
    with mpl.rc_context(settings), atomic_path(path) as temporary:
        make_figure(architectures).savefig(temporary, format=kind, dpi=150, metadata=metadata)


def make_figure(architectures: Sequence[Architecture]) -> Figure:
    """Networks side by side, with maps of equal sizes at equal heights."""
    columns = [_Column(architecture) for architecture in architectures]
    sections = sorted({size for column in columns for size in column.heights}, key=lambda size: (-size[0], -size[1]))
    header = max(column.header for column in columns) + _HEADER
    tops, y = {}, header
    for size in sections:
        tops[size] = y
        y += max(column.heights.get(size, 0.0) for column in columns) + _SECTION_GAP
    width = _SIZES_WIDTH + sum(column.width for column in columns)
    figure = Figure(figsize=(width, y))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(y, 0))
    axes.axis("off")
    _draw_sections(axes, tops, width)
    x = _SIZES_WIDTH
    for column in columns:
        column.draw(axes, x, header, tops)
        x += column.width
    return figure


def _draw_sections(axes: Axes, tops: dict[Size, float], width: float) -> None:
    for size, top in tops.items():
        line = top - _SECTION_GAP / 2
        axes.plot([0.1, width - 0.1], [line, line], color=_FAINT, linewidth=0.5, zorder=0)
        side = str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
        axes.text(0.15, top + _BOX_HEIGHT / 2, f"output\nsize: {side}", fontsize=_FONT, va="center")


class _Column:
    """One network in the picture: first measured, then drawn."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.heights: dict[Size, float] = {}
        # Of the boxes' tops from their section's, unit by unit.
        self.offsets: list[list[float]] = []
        after_block = False
        for unit in architecture.units:  # a whole block stands where its output belongs
            offsets = []
            for index in range(len(unit.rows)):
                if unit.size not in self.heights:
                    offset = 0.0
                else:
                    apart = index == 0 and (unit.is_block or after_block)
                    offset = self.heights[unit.size] + (_BLOCK_GAP if apart else _GAP)
                offsets.append(offset)
                self.heights[unit.size] = offset + _BOX_HEIGHT
            after_block = unit.is_block
            self.offsets.append(offsets)
        repeats = any(unit.times > 1 for unit in architecture.units)
        texts = [unit.shortcut.text for unit in architecture.units if unit.shortcut]
        self.left = 0.65 if repeats else 0.2
        rows = [row.text for unit in architecture.units for row in unit.rows]
        self.box_width = max(_NARROWEST_BOX, _text_width(rows, _FONT) + 0.1)
        self.right = 0.2 + (_BULGE if texts else 0.0) + _text_width("\n".join(texts).split("\n"), _SMALL_FONT)
        words = architecture.name.replace(",", ", ").replace("[", " [")
        # The name stands centred above the boxes, and needs room on both sides for its longest word at least.
        margin = (_text_width(words.split(), _BOLD_FONT) - self.box_width) / 2 + 0.05
        self.left, self.right = max(self.left, margin), max(self.right, margin)
        room = self.box_width + 2 * min(self.left, self.right) - 0.1
        characters = int(room / (_BOLD_FONT * _CHARACTER))
        self.name = textwrap.wrap(words, characters, break_on_hyphens=False, break_long_words=False)
        self.width = self.left + self.box_width + self.right
        self.header = 0.15 + 0.17 * (len(self.name) + len(architecture.notes))

    def draw(self, axes: Axes, x: float, header: float, tops: dict[Size, float]) -> None:
        left = x + self.left
        right, center = left + self.box_width, left + self.box_width / 2
        self._draw_title(axes, center, header)
        end = header - _SECTION_GAP  # where the last arrow's tail is
        for unit, offsets in zip(self.architecture.units, self.offsets, strict=True):
            ys = [tops[unit.size] + offset for offset in offsets]
            start = end
            for row, y in zip(unit.rows, ys, strict=True):
                _arrow(axes, center, end, y)
                _box(axes, left, right, y, row)
                end = y + _BOX_HEIGHT
            if unit.shortcut:
                # The fork lies in the lower part of the gap above, the junction in the upper part of the one below.
                fork = max(ys[0] - _BLOCK_GAP * 0.4, start)
                _curve(axes, center, right, fork, end + _BLOCK_GAP * 0.35, unit.shortcut)
            if unit.times > 1:
                _repeat(axes, left, ys[0], end, unit.times)

    def _draw_title(self, axes: Axes, center: float, header: float) -> None:
        height, width, channels = self.architecture.image
        image = f"image, {height}x{width}x{channels}"
        for index, line in enumerate((*self.name, *self.architecture.notes)):
            weight = "bold" if index < len(self.name) else "normal"
            axes.text(center, 0.15 + 0.17 * index, line, fontsize=_FONT, weight=weight, ha="center", va="center")
        axes.text(center, header - _SECTION_GAP - 0.1, image, fontsize=_FONT, ha="center", va="center")


def _text_width(lines: Sequence[str], points: float) -> float:
    return max(map(len, lines), default=0) * points * _CHARACTER


def _box(axes: Axes, left: float, right: float, y: float, row: Row) -> None:
    color = _COLORS[row.stage % len(_COLORS)] if row.kind == "conv" else "white"
    box = FancyBboxPatch(
        (left, y),
        right - left,
        _BOX_HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.06",
        facecolor=color,
        edgecolor=_EDGE,
        linewidth=0.7,
        zorder=2,
    )
    axes.add_patch(box)
    middle = ((left + right) / 2, y + _BOX_HEIGHT / 2)
    axes.text(*middle, row.text, fontsize=_FONT, ha="center", va="center", zorder=3)


def _arrow(axes: Axes, x: float, start: float, end: float) -> None:
    axes.plot([x, x], [start, end - 0.03], color=_EDGE, linewidth=0.8, zorder=1, solid_capstyle="butt")
    head = Polygon([(x, end), (x - 0.03, end - 0.06), (x + 0.03, end - 0.06)], color=_EDGE, linewidth=0, zorder=1)
    axes.add_patch(head)


def _curve(axes: Axes, center: float, right: float, fork: float, junction: float, shortcut: Shortcut) -> None:
    bend = right + _BULGE / 0.75  # a cubic curve reaches three quarters of the way to its control points
    vertices = [(center, fork), (right, fork), (bend, fork), (bend, junction), (right, junction), (center, junction)]
    codes = [Curve.MOVETO, Curve.LINETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4, Curve.LINETO]
    style = (0, (1.2, 1.5)) if shortcut.grows else "solid"
    path = PathPatch(
        Curve(vertices, codes), facecolor="none", edgecolor=_EDGE, linewidth=0.9, linestyle=style, zorder=1
    )
    axes.add_patch(path)
    tip = center + 0.01
    head = [(tip, junction), (tip + 0.07, junction - 0.03), (tip + 0.07, junction + 0.03)]
    axes.add_patch(Polygon(head, color=_EDGE, linewidth=0, zorder=1))
    if shortcut.text:
        middle = (fork + junction) / 2
        axes.text(right + _BULGE + 0.05, middle, shortcut.text, fontsize=_SMALL_FONT, va="center")


def _repeat(axes: Axes, left: float, top: float, bottom: float, times: int) -> None:
    x = left - 0.08
    vertices = [(x, top), (x - 0.06, top), (x - 0.06, bottom), (x, bottom)]
    codes = [Curve.MOVETO, Curve.LINETO, Curve.LINETO, Curve.LINETO]
    axes.add_patch(PathPatch(Curve(vertices, codes), facecolor="none", edgecolor=_EDGE, linewidth=0.9))
    axes.text(x - 0.1, (top + bottom) / 2, f"x {times}", fontsize=_FONT, ha="right", va="center")
