"""`reslab push`."""

from dataclasses import dataclass
from pathlib import Path

from reslab.cli.command import Command, argument
from reslab.cli.output import JsonArguments, print_report
from reslab.fields import knob

_DESCRIPTION = """\
  reslab push runs/leaves hub:me/leaves --dry-run
  reslab push runs/leaves hub:me/leaves --private
  reslab eval hub:me/leaves --data leaves/
  reslab predict hub:me/leaves@1f0c2a9 photo.jpg

Weights, their card and README.md (the run's own, or a short one) become one commit of a repository on Hugging Face's
hub. Checkpoints, metrics and places on this machine are not sent. HF_TOKEN or `hf auth login` says who you are, and
HF_ENDPOINT names another hub. Needs the extra `hub`."""


@dataclass(frozen=True, kw_only=True)
class Arguments(JsonArguments):
    run: Path = argument(help="Folder of a finished run, or of weights with their card.", metavar="RUN")
    repository: str = argument(help="Repository, as hub:owner/name; made where there is none.", metavar="HUB")
    private: bool = knob(False, "Make a new repository a private one.")
    message: str | None = knob(None, "Message of the commit.")
    dry_run: bool = knob(False, "Send nothing, and list what would be sent.")


def run(asked: Arguments) -> int:
    """Sends a run to the hub."""
    from reslab.deploy.push import push

    options = {"private": asked.private, "message": asked.message, "dry_run": asked.dry_run}
    return print_report(push(asked.run, asked.repository, **options, progress=True), asked.json)  # type: ignore[arg-type]


COMMANDS = {"": Command(Arguments, "send a run's weights and card to Hugging Face's hub", _DESCRIPTION, run)}
