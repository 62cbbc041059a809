"""Predictions as `reslab predict` shows them to people."""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from reslab.cli.output import print_table
from reslab.console import progress_bar
from reslab.texts import show_name

if TYPE_CHECKING:
    from reslab.deploy.prediction import Prediction

__all__ = ["Watched", "print_predictions"]

_NONE = "(none of the labels)"
_ROWS_A_TABLE = 500  # in a terminal, so that many images are shown as they come


class Watched:
    """Predictions, counted on stderr, where those that failed are told."""

    def __init__(self, predictions: "Iterable[Prediction]") -> None:
        self.predictions, self.num_failed = predictions, 0

    def __iter__(self) -> "Iterator[Prediction]":
        from rich.progress import MofNCompleteColumn, SpinnerColumn, TextColumn

        with progress_bar(SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn()) as bar:
            task = bar.add_task("Images", total=None)
            for prediction in self.predictions:
                bar.advance(task)
                if prediction.error is not None:
                    self.num_failed += 1
                    print(f"reslab: {prediction.shown_path}: {prediction.error}", file=sys.stderr)
                yield prediction


def print_predictions(predictions: "Iterable[Prediction]") -> None:
    """A table in a terminal, and elsewhere a line an image, of cells between tabs."""
    rest = iter(predictions)
    if sys.stdout.isatty():
        while shown := list(islice(rest, _ROWS_A_TABLE)):
            if any(found.others is not None for found in shown):
                print_table(("image", "labels", "then"), [(found.shown_path, *_sets(found)) for found in shown])
                continue
            rows = [(found.shown_path, *_cells(found)) for found in shown]
            print_table(("image", "label", "probability", "then"), rows, right=("probability",))
        return
    for found in rest:
        if found.abstained:
            print(found.shown_path, f"(abstained) {found.probability:.4f}", sep="\t")
        elif found.others is not None:
            print(found.shown_path, *(_ranked(found)[: len(found.labels)] or [_NONE]), sep="\t")
        elif found.error is None:
            print(found.shown_path, *_ranked(found), sep="\t")


def _cells(found: "Prediction") -> tuple[str, str, str]:
    if found.error is not None:
        return f"({found.error})", "", ""
    if found.abstained:
        return "(abstained)", f"{found.probability:.4f}", "  ".join(_ranked(found))
    return show_name(found.label), f"{found.probability:.4f}", "  ".join(_ranked(found)[1:])


def _sets(found: "Prediction") -> tuple[str, str]:
    """Where an image has several labels: those that it has, and the next ones."""
    if found.error is not None:
        return f"({found.error})", ""
    ranked, number = _ranked(found), len(found.labels)
    return "  ".join(ranked[:number]) or _NONE, "  ".join(ranked[number:])


def _ranked(found: "Prediction") -> list[str]:
    pairs = zip(found.ranked, found.probabilities, strict=True)
    return [f"{show_name(label)} {share:.4f}" for label, share in pairs]
