"""Predictions as files and streams for programs: CSV, JSON, and JSON lines."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

from reslab.deploy.prediction import Prediction
from reslab.errors import ReslabError
from reslab.files.atomic import atomic_path
from reslab.texts import show_name

__all__ = ["COLUMNS", "Form", "form_of_name", "prediction_file", "prediction_stream"]

Form = Literal["csv", "json", "jsonl"]
Write = Callable[[Prediction], None]

COLUMNS = ("path", "rank", "label", "probability", "error", "abstained")
"""Of the CSV: a row a label, and one row of an image that failed, that has none, or that the network abstains from."""


def form_of_name(path: Path, asked: Form | None) -> Form:
    """The form of a file: what is asked for, or what its name ends in; CSV by default.

    Raises:
        ReslabError: the name says another one.
    """
    named: dict[str, Form] = {".csv": "csv", ".json": "json", ".jsonl": "jsonl"}
    found = named.get(path.suffix.lower())
    if asked and found and asked != found:
        raise ReslabError(
            f"--out {show_name(path)} is named for {found}, and --{asked} is asked for; give one of both."
        )
    return asked or found or "csv"


@contextmanager
def prediction_file(path: Path, form: Form) -> Iterator[Write]:
    """Writes predictions into a file that is there when it is whole.

    Args:
        path: of the file.
        form: of its content.
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        with prediction_stream(stream, form) as write:
            yield write
        stream.flush()


@contextmanager
def prediction_stream(stream: TextIO, form: Form) -> Iterator[Write]:
    """Writes predictions into a stream, each as soon as it is there.

    Args:
        stream: of text.
        form: `csv` with a head and the columns of `COLUMNS`, `json` for an array, `jsonl` for an object a line.
    """
    if form == "csv":
        yield _csv_writer(stream)
        return
    before, between, after = ("[\n", ",\n", "\n]\n") if form == "json" else ("", "", "")
    begun = False

    def write(prediction: Prediction) -> None:
        nonlocal begun
        text = json.dumps(prediction.to_dict(), ensure_ascii=False, allow_nan=False)
        stream.write((between if begun else before) + text + ("" if form == "json" else "\n"))
        stream.flush()
        begun = True

    yield write
    stream.write(after if begun or form == "jsonl" else "[]\n")


def _csv_writer(stream: TextIO) -> Write:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)

    def write(prediction: Prediction) -> None:
        path = prediction.shown_path
        if prediction.error is not None:
            writer.writerow((path, "", "", "", prediction.error, "false"))
        elif prediction.others is not None and not prediction.labels:
            writer.writerow((path, "", "", "", "", "false"))
        elif prediction.abstained:
            writer.writerow((path, "", "", f"{prediction.probability:.6f}", "", "true"))
        else:
            found = zip(prediction.labels, prediction.probabilities, strict=False)  # of others there are more
            writer.writerows(
                (path, rank, show_name(label), f"{share:.6f}", "", "false")
                for rank, (label, share) in enumerate(found, 1)
            )

    return write
