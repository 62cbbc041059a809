"""`reslab report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reslab.cli.command import Command, argument
from reslab.cli.output import JsonArguments, print_report
from reslab.fields import knob

_DESCRIPTION = """\
  reslab report runs/resnet20-digits-digits-quick-seed0
  reslab report runs/flowers --split test --out flowers-report/

Writes report.html, a page that needs nothing beside it and asks no network for anything: the data, the training, errors
with intervals, confusions, calibration, the surest mistakes with maps, suspicious labels, and images that are there
twice. Beside it README.md is a model card as Hugging Face's hub reads it. val images are shown, and test images only
with --split test."""


@dataclass(frozen=True, kw_only=True)
class Arguments(JsonArguments):
    run: Path = argument(help="Folder of a finished run.", metavar="RUN")
    split: Literal["train", "val", "test"] | None = knob(None, "Role of the images; by default val.")
    data: str | None = knob(None, "Name of a data set, or a folder of class folders; by default the run's own.")
    out: Path | None = knob(None, "Folder to write into; by default the run's own.")
    license: str | None = knob(None, "License of the weights for the card, as in apache-2.0; by default none.")
    data_dir: Path | None = knob(None, "Folder where named data sets are looked for first.")


def run(asked: Arguments) -> int:
    """Writes a report."""
    from reslab.explain import report_run

    given = {name: value for name, value in vars(asked).items() if name not in ("run", "json")}
    return print_report(report_run(asked.run, **given, progress=True), asked.json)


COMMANDS = {
    "": Command(
        Arguments,
        "a finished run as a page: data, errors, mistakes, suspicious labels; and a model card",
        _DESCRIPTION,
        run,
    )
}
