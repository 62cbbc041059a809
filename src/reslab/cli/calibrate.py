"""`reslab calibrate`."""

from dataclasses import dataclass
from pathlib import Path

from reslab.cli.command import Command, argument
from reslab.cli.output import JsonArguments, print_report
from reslab.fields import knob

_DESCRIPTION = """\
  reslab calibrate runs/resnet20-digits-digits-quick-seed0 --in-place
  reslab calibrate runs/leaves --out leaves-calibrated --json

Logits are divided by a temperature, fitted on the val images: a network that was too sure of itself becomes as sure as
it is right, and no answer changes. The division is done to the last layer's weights, so that predict, eval, export and
quantize of the result have it without further ado; the card says the temperature."""


@dataclass(frozen=True, kw_only=True)
class Arguments(JsonArguments):
    run: Path = argument(help="Folder of a finished run, or of weights with their card.", metavar="RUN")
    data: str | None = knob(None, "Name of a data set, or a folder, with val images; by default the run's own.")
    out: Path | None = knob(None, "Folder for the new weights with their card.")
    in_place: bool = knob(False, "Replace the run's own weights and card.")
    device: str | None = knob(None, "Device: auto, cpu, cuda, cuda:1, mps.")
    data_dir: Path | None = knob(None, "Folder where named data sets are looked for first.")


def run(asked: Arguments) -> int:
    """Calibrates a run's probabilities."""
    from reslab.evaluation.calibrated_run import calibrate

    given = {name: value for name, value in vars(asked).items() if name not in ("run", "json")}
    return print_report(calibrate(asked.run, **given, progress=True), asked.json)


COMMANDS = {
    "": Command(Arguments, "make a run's probabilities as sure as it is right, on its val images", _DESCRIPTION, run)
}
