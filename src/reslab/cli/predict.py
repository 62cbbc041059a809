"""`reslab predict`."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reslab.cli.command import Command, argument
from reslab.cli.networks import NET_HELP, NetworkArguments
from reslab.cli.output import JSON_HELP
from reslab.cli.predictions import Watched, print_predictions
from reslab.errors import ReslabError
from reslab.fields import knob
from reslab.texts import count, show_name

if TYPE_CHECKING:
    from reslab.api import Network
    from reslab.deploy.prediction import NamedImage
    from reslab.deploy.prediction_files import Form

_DESCRIPTION = """\
  reslab predict runs/resnet20-cifar10-cifar-paper-seed0 photo.jpg
  reslab predict model-int8.xml photos/ --out labels.csv
  reslab predict resnet50=torchvision:V2 'photos/**/*.jpg' --jsonl
  curl -s https://example.org/cat.jpg | reslab predict model.onnx -
  find photos -name '*.jpg' -print0 | reslab predict model.onnx --paths-from - --csv
  reslab predict runs/leaves test/ --threshold 0.8
  reslab predict runs/leaves test/ --submission sample_submission.csv --out submission.csv

An image of any size is turned upright, scaled until it covers the network's crop, and cropped in the middle. A file
that cannot be used is named on stderr and has a row that says so; the others go on, and the exit code is 1."""


@dataclass(frozen=True, kw_only=True)
class Arguments(NetworkArguments):
    network: str = argument(help=NET_HELP, metavar="NET")
    images: tuple[str, ...] = argument(
        (),
        "Image files, folders that are searched for them, quoted patterns, addresses, and - for an image's bytes on "
        "standard input.",
        metavar="IMAGES",
    )
    paths_from: str | None = knob(
        None, "List of more of them, one a line or separated by NUL: a file, or - for standard input.", metavar="FILE"
    )
    allow_urls: bool = knob(False, "Fetch images that are given by their addresses (http, https).")
    top: int = knob(5, "Labels an image.", least=1)
    threshold: float | None = knob(
        None,
        "Probability below which the network abstains: no label is given. Where an image has several labels, those "
        "from this probability on; 0.5 by default.",
        least=0,
        most=1,
    )
    submission: Path | None = knob(
        None,
        "Sample of a competition's submission (CSV): its ids and columns are filled in and written to --out. It has an "
        "id and a label, or an id and a column for each class.",
    )
    batch_size: int | None = knob(
        None, "Images a forward pass; by default 16 of 224x224 pixels, and as many pixels of others.", least=1
    )
    threads: int | None = knob(
        None, "Threads that decode, and as many of the network; by default all available cores.", least=1
    )
    engine: Literal["onnxruntime", "openvino"] | None = knob(
        None, "Engine of an exported file; by default ONNX Runtime for .onnx and OpenVINO for .xml."
    )
    out: Path | None = knob(None, "File to write instead: CSV, or .json and .jsonl.")
    csv: bool = knob(False, "Print CSV: path, rank, label, probability, error, abstained.")
    json: bool = knob(False, JSON_HELP)
    jsonl: bool = knob(False, "Print JSON lines, each as soon as it is there.")


def run(asked: Arguments) -> int:
    """Labels images."""
    form = _form(asked)
    from reslab.deploy.given_images import given_images

    images = given_images(asked.images, asked.paths_from, allow_urls=asked.allow_urls)
    with asked.load(asked.network, engine=asked.engine, threads=asked.threads) as network, ExitStack() as stack:
        asked.check_learned(network)
        if network.about.note:
            print(network.about.note, file=sys.stderr)
        # Pillow warns of odd files while it decodes them; whether it can is what counts.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if asked.submission and asked.out:
            return _submit(network, images, asked.submission, asked.out, asked.threshold)
        found = network.stream(images, top=asked.top, threshold=asked.threshold, batch_size=asked.batch_size)
        watched = Watched(found)
        if form:
            from reslab.deploy.prediction_files import prediction_file, prediction_stream

            file = prediction_file(asked.out, form) if asked.out else prediction_stream(sys.stdout, form)
            write = stack.enter_context(file)
            for prediction in watched:
                write(prediction)
        else:
            print_predictions(watched)
    if asked.out:
        print(asked.out)
    return 1 if watched.num_failed else 0


def _form(asked: Arguments) -> "Form | None":
    """What is written; None for a table or lines for people."""
    wanted: list[Form] = [form for form in ("csv", "json", "jsonl") if getattr(asked, form)]
    if len(wanted) > 1:
        raise ReslabError(f"--{wanted[0]} and --{wanted[1]} are two forms of the same; give one of them.")
    if asked.submission:
        if asked.out is None:
            raise ReslabError("--submission needs --out, the file to write.")
        if wanted:
            raise ReslabError("a submission is CSV with a label for each id; leave --json and --jsonl out.")
        return None
    if not asked.out:
        return wanted[0] if wanted else None
    from reslab.deploy.prediction_files import form_of_name

    return form_of_name(asked.out, wanted[0] if wanted else None)


def _submit(
    network: "Network", images: "Iterator[Path | NamedImage]", sample: Path, out: Path, threshold: float | None
) -> int:
    from reslab.deploy.submission import Submission

    found = Submission.of(sample, network.about, threshold)
    chosen, num_others = found.find(images)
    if num_others:
        print(f"{count(num_others, 'image')} of those given have no id in {show_name(sample)}.", file=sys.stderr)
    failed = found.write(Watched(network.stream(chosen, top=network.about.num_classes)), out)
    if failed:
        print(f"reslab: {count(len(failed), 'row')} of {show_name(out)} are as in the sample.", file=sys.stderr)
    print(out)
    return 1 if failed else 0


COMMANDS = {
    "": Command(
        Arguments,
        "labels of image files, by a run, a weight file or an exported file",
        _DESCRIPTION,
        run,
    )
}
