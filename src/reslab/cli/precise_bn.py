"""`reslab precise-bn`."""

from dataclasses import dataclass
from pathlib import Path

from reslab.cli.command import Command, argument
from reslab.cli.output import JsonArguments, print_report
from reslab.fields import knob

_DESCRIPTION = """\
  reslab precise-bn runs/resnet20-cifar10-cifar-paper-seed0 --out resnet20-precise
  reslab precise-bn runs/resnet20-cifar10-cifar-paper-seed0 --in-place --images 50000

The authors' released models hold such statistics, computed after training. Weights stay as they are; the images are
seen as in tests, in full batches of those of the training, and every batch weighs the same. The result is a folder
that every command takes as it takes a run's."""


@dataclass(frozen=True, kw_only=True)
class Arguments(JsonArguments):
    run: Path = argument(help="Folder of a finished run.", metavar="RUN")
    data: str | None = knob(None, "Name of a data set, or a folder of class folders; by default the run's own.")
    images: int = knob(
        10_000, "Train images, drawn at random, the same ones every time; all where there are fewer.", least=2
    )
    batch_size: int | None = knob(None, "Images a batch; by default as many as in training.", least=2)
    out: Path | None = knob(None, "Folder for the new weights with their card.")
    in_place: bool = knob(False, "Replace the run's own weights and card; the old ones are lost.")
    device: str | None = knob(None, "Device: auto, cpu, cuda, cuda:1, mps.")
    data_dir: Path | None = knob(None, "Folder where named data sets are looked for first.")


def run(asked: Arguments) -> int:
    """Measures a run's batch-norm statistics anew."""
    from reslab.evaluation.measured_run import measure_run

    given = {name: value for name, value in vars(asked).items() if name not in ("run", "images", "json")}
    report = measure_run(asked.run, num_images=asked.images, **given, progress=True)
    return print_report(report, asked.json)


COMMANDS = {
    "": Command(
        Arguments,
        "batch-norm statistics of a finished run as strict averages over training images, not moving averages",
        _DESCRIPTION,
        run,
    )
}
