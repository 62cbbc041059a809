"""What `reslab data check` can find, and how it is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from reslab.data.dataset import Role
from reslab.data.decoding import LARGEST_IMAGE
from reslab.texts import count, show_name

__all__ = ["BLOCKING", "PROBLEMS", "UNUSABLE", "CheckReport", "Finding", "Problem", "ShardReport"]

Problem = Literal[
    "unreadable",
    "truncated",
    "too-large",
    "in-two-classes",
    "leaked",
    "empty-class",
    "structure",
    "duplicate",
    "placeholder",
    "unbalanced",
    "single-image",
    "unused-label",
    "tiny",
    "oblong",
    "animated",
    "wrong-extension",
    "needs-converting",
    "no-image",
]

PROBLEMS: dict[Problem, str] = {
    "unreadable": "cannot be decoded",
    "truncated": "ends before the image does",
    "too-large": f"has more than {LARGEST_IMAGE:,} pixels",
    "in-two-classes": "has the same pixels as an image of another class, or with other labels",
    "leaked": "has the same pixels as an image of another role: a test on it tells nothing",
    "empty-class": "is a class folder without images",
    "structure": "lists as no data set",
    "duplicate": "has the same pixels as another image",
    "placeholder": "may stand for an image that was not there",
    "unbalanced": "has classes of very different sizes; look at the mean error of the classes",
    "single-image": "is a class with one image",
    "unused-label": "is a label that no image has",
    "tiny": "has fewer than 4 pixels a side",
    "oblong": "is more than 20 times as long as it is wide: a crop shows little of it",
    "animated": "has several pictures, of which the first is used",
    "wrong-extension": "is of another format than its name says; it is decoded all the same",
    "needs-converting": "is a photo in a format that is not read, and is passed over",
    "no-image": "has no image's extension, and is passed over",
}

UNUSABLE: tuple[Problem, ...] = ("unreadable", "truncated", "too-large")
"""What training would stop at, and a quarantine takes away."""

BLOCKING: tuple[Problem, ...] = (*UNUSABLE, "empty-class", "structure", "in-two-classes", "leaked")
"""What training would stop at, or what makes its result wrong."""

_MOST_SHOWN = 20  # of a kind, in words
_MOST_CLASSES = 12  # in the table, half of them the largest and half the smallest


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Args:
        path: below the folder.
        problem: what kind of thing.
        detail: in words; of a duplicate, the other file's path.
    """

    path: str
    problem: Problem
    detail: str = ""

    def __str__(self) -> str:
        return f"{show_name(self.path)}{f': {show_name(self.detail)}' if self.detail else ''}"

    def to_dict(self) -> dict[str, str]:
        """As plain values, names as they are shown."""
        return {"path": show_name(self.path), "problem": self.problem, "detail": show_name(self.detail)}


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What `check_folder` found.

    Args:
        num_images: that were read, by role; the role is empty where the folder has none.
        num_classes: class folders, of the role that has most.
        sizes: smallest and largest width and height, in pixels.
        kinds: how many images are grey, CMYK, with a palette, turned by their camera, by format.
        findings: in the order of their paths.
        class_counts: images of each class, by role.
        notes: sentences on what its owner may not have meant so.
        task: that the data are for; of `multi-label` a class is a label, and an image counts for each that it has.
        num_without: images without any label, by role; empty where each image has one.
    """

    num_images: dict[str, int]
    num_classes: int
    sizes: tuple[tuple[int, int], tuple[int, int]]
    kinds: dict[str, int]
    findings: tuple[Finding, ...]
    class_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    task: str = "classification"
    num_without: Mapping[str, int] = field(default_factory=dict)

    @property
    def blocking(self) -> bool:
        """Whether training would stop at something, or its result be wrong."""
        return any(finding.problem in BLOCKING for finding in self.findings)

    def __str__(self) -> str:
        counts = ", ".join(f"{number:,} {role or 'images'}" for role, number in self.num_images.items())
        (low_width, low_height), (high_width, high_height) = self.sizes
        several = self.task != "classification"
        classes = f"with {count(self.num_classes, 'label')}" if several else ""
        classes = classes or f"in {count(self.num_classes, 'class', 'classes')}"
        lines = [f"{counts} {classes}; {low_width}-{high_width} x {low_height}-{high_height} pixels"]
        lines.append(", ".join(f"{number:,} {kind}" for kind, number in self.kinds.items()))
        lines += self._table()
        if several:
            without = sum(self.num_without.values())
            lines.append(f"{count(without, 'image')} {'has' if without == 1 else 'have'} none of the labels")
        lines += [f"note: {note}" for note in self.notes]
        for problem, words in PROBLEMS.items():
            found = [finding for finding in self.findings if finding.problem == problem]
            lines += [f"\n{len(found):,} {problem} ({words}):"] if found else []
            lines += [f"  {item}" for item in found[:_MOST_SHOWN]]
            if len(found) > _MOST_SHOWN:
                lines.append(f"  and {len(found) - _MOST_SHOWN:,} more")
        return "\n".join(lines if self.findings else [*lines, "nothing is wrong"])

    def _table(self) -> list[str]:
        """Images of each class, the largest first; of many classes the largest and the smallest."""
        ordered = sorted(self.class_counts.items(), key=lambda item: (-sum(item[1].values()), item[0]))
        rows = [(show_name(name), *(f"{number:,}" for number in numbers.values())) for name, numbers in ordered]
        if len(rows) > _MOST_CLASSES:
            half, width = _MOST_CLASSES // 2, len(self.num_images)
            rows = [*rows[:half], (f"({len(rows) - 2 * half:,} more)", *[""] * width), *rows[-half:]]
        rows = [("label" if self.num_without else "class", *(role or "images" for role in self.num_images)), *rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            "  ".join(
                [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
            ).rstrip()
            for row in rows
        ]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "num_images": self.num_images,
            "num_classes": self.num_classes,
            "class_counts": {show_name(name): dict(numbers) for name, numbers in self.class_counts.items()},
            "smallest": list(self.sizes[0]),
            "largest": list(self.sizes[1]),
            "kinds": self.kinds,
            "task": self.task,
            **({"num_without_labels": dict(self.num_without)} if self.num_without else {}),
            "notes": list(self.notes),
            "blocking": self.blocking,
            "problems": {problem: sum(finding.problem == problem for finding in self.findings) for problem in PROBLEMS},
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """What `check_data` found of shards: each has the checksum of the index.

    Args:
        num_images: by role.
    """

    num_images: dict[Role, int]
    blocking: ClassVar[bool] = False

    def __str__(self) -> str:
        counts = ", ".join(f"{number:,} {role}" for role, number in self.num_images.items())
        return f"{counts} images in shards with the checksums of the index"

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {"num_images": self.num_images, "checksums": "equal"}
