"""`reslab env`."""

from dataclasses import dataclass

from reslab.cli.command import Command
from reslab.cli.output import JSON_HELP, print_json
from reslab.environment import describe_environment
from reslab.fields import knob


@dataclass(frozen=True, kw_only=True)
class Arguments:
    json: bool = knob(False, JSON_HELP)


def run(asked: Arguments) -> int:
    """Shows what numbers depend on."""
    environment = describe_environment()
    if asked.json:
        print_json(environment)
        return 0
    packages = environment.pop("packages")
    for name, value in {**environment, **packages}.items():
        print(f"{name:<13} {value if value is not None else '-'}")
    return 0


COMMANDS = {"": Command(Arguments, "versions and processor, for a record or a bug report", "  reslab env --json", run)}
