"""`reslab predict`."""

import json
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reslab.cli.command import Command, argument
from reslab.cli.networks import NET_HELP, NetworkArguments
from reslab.cli.output import JSON_HELP
from reslab.console import progress_bar
from reslab.errors import ReslabError
from reslab.fields import knob
from reslab.texts import show_name

if TYPE_CHECKING:
    from reslab.deploy.prediction import Prediction

_DESCRIPTION = """\
  reslab predict runs/resnet20-cifar10-cifar-paper-seed0 photo.jpg
  reslab predict model-int8.xml photos/ --out labels.csv
  reslab predict resnet50=torchvision:V2 photos/ --json

An image of any size is turned upright, scaled until it covers the network's crop, and cropped in the middle. A file
that cannot be used is named on stderr, the others go on, and the exit code is 1."""


@dataclass(frozen=True, kw_only=True)
class Arguments(NetworkArguments):
    network: str = argument(help=NET_HELP, metavar="NET")
    images: tuple[Path, ...] = argument((), "Image files, and folders that are searched for them.", metavar="IMAGES")
    top: int = knob(5, "Labels an image.", least=1)
    batch_size: int | None = knob(
        None, "Images a forward pass; by default 16 of 224x224 pixels, and as many pixels of others.", least=1
    )
    threads: int | None = knob(
        None, "Threads that decode, and as many of the network; by default all available cores.", least=1
    )
    engine: Literal["onnxruntime", "openvino"] | None = knob(
        None, "Engine of an exported file; by default ONNX Runtime for .onnx and OpenVINO for .xml."
    )
    out: Path | None = knob(None, "CSV file to write instead: path, rank, label, probability, error.")
    json: bool = knob(False, JSON_HELP)


def run(asked: Arguments) -> int:
    """Labels images."""
    if not asked.images:
        raise ReslabError("of which images? Give files or folders.")
    from reslab.deploy.prediction import find_images, prediction_table

    with asked.load(asked.network, engine=asked.engine, threads=asked.threads) as network, ExitStack() as stack:
        asked.check_learned(network)
        if network.about.note:
            print(network.about.note, file=sys.stderr)
        # Pillow warns of odd files while it decodes them; whether it can is what counts.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        found = network.stream(find_images(asked.images), top=asked.top, batch_size=asked.batch_size)
        watched = _Watched(found)
        if asked.json:
            _print_json(watched)
        elif asked.out:
            write = stack.enter_context(prediction_table(asked.out))
            for prediction in watched:
                write(prediction)
        else:
            _print_lines(watched)
    if asked.out and not asked.json:
        print(asked.out)
    return 1 if watched.num_failed else 0


class _Watched:
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


def _print_json(predictions: "Iterable[Prediction]") -> None:
    separator = "[\n"
    for prediction in predictions:
        sys.stdout.write(separator + json.dumps(prediction.to_dict(), ensure_ascii=False, allow_nan=False))
        separator = ",\n"
    print("\n]")


def _print_lines(predictions: "Iterable[Prediction]") -> None:
    for prediction in predictions:
        if prediction.error is None:
            found = zip(prediction.labels, prediction.probabilities, strict=True)
            print(prediction.shown_path, *(f"{show_name(label)} {share:.4f}" for label, share in found), sep="\t")


COMMANDS = {
    "": Command(
        Arguments,
        "labels of image files, by a run, a weight file or an exported file",
        _DESCRIPTION,
        run,
    )
}
