"""`reslab predict`."""

import csv
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.progress import MofNCompleteColumn, SpinnerColumn, TextColumn

from reslab.cli.arguments import OptionalCount, OptionalPath, parse
from reslab.cli.source import SourceArguments, find_source, run_folder
from reslab.console import progress_bar
from reslab.errors import ReslabError, WeightsError
from reslab.files.atomic import atomic_path

if TYPE_CHECKING:
    from reslab.deploy.predict import Prediction
    from reslab.deploy.runtime import Deployed

_DESCRIPTION = """Labels of image files.

  reslab predict runs/resnet20-cifar10-cifar-paper-seed0 photo.jpg
  reslab predict model-int8.xml photos/ --out labels.csv
  reslab predict resnet50 photos/ --weights torchvision:V2 --json

An image of any size is turned upright, scaled until it covers the network's crop, and cropped in the middle. A file
that cannot be used is named on stderr, the others go on, and the exit code is 1."""
_SUFFIXES = (".onnx", ".xml")


@dataclass(frozen=True, kw_only=True)
class Arguments(SourceArguments):
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE|RUN|MODEL")]
    """An exported or quantised file (.onnx, .xml), the folder of a finished run, or a network's name with --weights."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")]
    """Image files, and folders that are searched for them."""
    top: int = 5
    """Labels an image."""
    batch: OptionalCount = None
    """Images a forward pass; 16 of 224x224 pixels, and as many pixels of others, by default."""
    threads: OptionalCount = None
    """Threads that decode, and as many of the network; all available cores by default."""
    engine: Literal["onnxruntime", "openvino"] | None = None
    """That runs an exported file; ONNX Runtime for .onnx and OpenVINO for .xml by default."""
    out: OptionalPath = None
    """Write a CSV file instead: path, rank, label, probability, error."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> int:
    """Labels images."""
    asked = parse(Arguments, arguments, "predict", _DESCRIPTION)
    for name in ("top", "batch", "threads"):
        if (value := getattr(asked, name)) is not None and value < 1:
            raise ReslabError(f"--{name} must be positive, not {value}.")
    if not asked.images:
        raise ReslabError("of which images? Give files or folders.")

    from reslab.deploy.predict import find_images, predict

    # Pillow warns of odd files while it decodes them; whether it can is what counts.
    with _target(asked) as deployed, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predictions = predict(
            deployed, find_images(asked.images), top=asked.top, batch_size=asked.batch, decoders=asked.threads
        )
        return 1 if _write(asked, _watched(predictions)) else 0


def _target(asked: Arguments) -> "Deployed":
    from reslab.deploy.runtime import deploy_network, load_deployed

    if asked.weights is None and Path(asked.model).suffix in _SUFFIXES:
        given = [name for name in ("mean", "std", "input_size") if getattr(asked, name) is not None]
        if given := given + sorted(asked.net.overrides()):
            raise ReslabError(f"--{given[0].replace('_', '-')} is for a network's name; {asked.model} says it itself.")
        return load_deployed(asked.model, asked.engine, asked.threads)
    if asked.engine:
        raise ReslabError("--engine is for exported files; PyTorch runs the others.")
    if asked.weights is None and run_folder(asked.model, asked) is None:
        raise WeightsError(
            f"{asked.model} is neither an exported file nor the folder of a run; for a network's name give its "
            "--weights too."
        )
    return deploy_network(find_source(asked.model, asked), asked.threads)


def _watched(predictions: "Iterable[Prediction]") -> "Iterator[Prediction]":
    """Counts on stderr; how many there will be is not known."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn()
    with progress_bar(*columns) as bar:
        task = bar.add_task("Images", total=None)
        for prediction in predictions:
            bar.advance(task)
            yield prediction


def _write(asked: Arguments, predictions: "Iterable[Prediction]") -> int:
    """Writes one prediction after the other, and returns how many files failed."""
    from reslab.deploy.predict import show_path

    num_failed = 0

    def told() -> "Iterator[Prediction]":
        nonlocal num_failed
        for prediction in predictions:
            if prediction.error is not None:
                num_failed += 1
                print(f"reslab: {show_path(prediction.path)}: {prediction.error}", file=sys.stderr)
            yield prediction

    if asked.json:
        separator = "[\n"
        for prediction in told():
            sys.stdout.write(separator + json.dumps(prediction.to_dict(), ensure_ascii=False, allow_nan=False))
            separator = ",\n"
        print("\n]")
        return num_failed
    if asked.out:
        with _table(asked.out) as write:
            for prediction in told():
                write(prediction)
        return num_failed
    for prediction in told():
        if prediction.error is None:
            found = zip(prediction.labels, prediction.probabilities, strict=True)
            print(show_path(prediction.path), *(f"{label} {share:.4f}" for label, share in found), sep="\t")
    return num_failed


@contextmanager
def _table(path: Path) -> "Iterator[Callable[[Prediction], None]]":
    """A CSV file that is there when it is whole; a row a label, and one of a file that failed."""
    from reslab.deploy.predict import show_path

    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "rank", "label", "probability", "error"))

        def write(prediction: "Prediction") -> None:
            name = show_path(prediction.path)
            if prediction.error is not None:
                writer.writerow((name, "", "", "", prediction.error))
            found = zip(prediction.labels, prediction.probabilities, strict=True)
            writer.writerows((name, rank, label, f"{share:.6f}", "") for rank, (label, share) in enumerate(found, 1))

        yield write
        stream.flush()
