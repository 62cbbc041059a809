"""`reslab explain`."""

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reslab.cli.command import Command, argument
from reslab.cli.networks import NET_HELP, NetworkArguments
from reslab.cli.output import JSON_HELP, print_json
from reslab.console import counting
from reslab.errors import ReslabError
from reslab.fields import knob
from reslab.texts import show_name

if TYPE_CHECKING:
    from reslab.explain import Explanation

_DESCRIPTION = """\
  reslab explain runs/resnet20-digits-digits-quick-seed0 7.png
  reslab explain runs/flowers photos/ --neighbours 4 --out explained/
  reslab explain model-int8.xml photo.jpg --method occlusion --class daisy

Each photo gets a picture: what speaks for the class is warm, what the network does not see is dim. Grad-CAM weighs the
last stage's maps as the classifier does; occlusion covers part after part, and asks exported files as well. A map says
what an answer rests on, and not whether it is right. A file that cannot be used is named on stderr, the others go on,
and the exit code is 1."""


@dataclass(frozen=True, kw_only=True)
class Arguments(NetworkArguments):
    network: str = argument(help=NET_HELP, metavar="NET")
    images: tuple[Path, ...] = argument((), "Image files, and folders that are searched for them.", metavar="IMAGES")
    method: Literal["cam", "occlusion"] | None = knob(
        None, "How the maps are made; by default cam, and of an exported file occlusion."
    )
    class_: str | None = knob(None, "Class to explain; by default the answer of each image.")
    neighbours: int = knob(0, "Most similar training images to show beside each photo, of a run.", least=0, most=20)
    out: Path = knob(Path("explained"), "Folder for the pictures.")
    window: int | None = knob(
        None, "Side of what is covered, in pixels of the network's view; a seventh of it by default.", least=1
    )
    step: int | None = knob(None, "Pixels from one window to the next; half a window by default.", least=1)
    threads: int | None = knob(None, "Threads of the network; by default all available cores.", least=1)
    engine: Literal["onnxruntime", "openvino"] | None = knob(
        None, "Engine of an exported file; by default ONNX Runtime for .onnx and OpenVINO for .xml."
    )
    data_dir: Path | None = knob(None, "Folder where named data sets are looked for first.")
    json: bool = knob(False, JSON_HELP)


def run(asked: Arguments) -> int:
    """Explains answers."""
    if not asked.images:
        raise ReslabError("of which images? Give files or folders.")
    from reslab.explain import explain

    with asked.load(asked.network, engine=asked.engine, threads=asked.threads) as network:
        asked.check_learned(network)
        found = explain(
            network,
            _found(asked.images, asked.out),
            method=asked.method,
            label=asked.class_,
            neighbours=asked.neighbours,
            out=asked.out,
            window=asked.window,
            step=asked.step,
            data_dir=asked.data_dir,
        )
        if network.about.note:
            print(network.about.note, file=sys.stderr)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's of odd files; whether it can decode them is what counts
            done = list(_told(found, quiet=asked.json))
    if asked.json:
        print_json([item.to_dict() for item in done])
    return 1 if any(item.error is not None for item in done) else 0


def _found(images: Iterable[Path], out: Path) -> Iterator[Path]:
    """Images as `predict` finds them, without the pictures that this command has left in a folder below."""
    from reslab.deploy.prediction import find_images

    place = Path(os.path.abspath(out))
    for given in images:
        above = place not in (Path(os.path.abspath(given)), *Path(os.path.abspath(given)).parents)
        for path in find_images([given]):
            if not above or place not in Path(os.path.abspath(path)).parents:
                yield path


def _told(found: "Iterator[Explanation]", *, quiet: bool) -> "Iterator[Explanation]":
    with counting("Images", None) as advance:
        for item in found:
            advance(1)
            if item.error is not None:
                print(f"reslab: {item.shown_path}: {item.error}", file=sys.stderr)
            elif not quiet:
                answers = (f"{show_name(own.label)} {own.probability:.4f}" for own in item.maps)
                print(item.shown_path, *answers, show_name(item.picture), sep="\t")
            yield item


COMMANDS = {
    "": Command(
        Arguments,
        "what a network's answers rest on, drawn over the photos",
        _DESCRIPTION,
        run,
    )
}
