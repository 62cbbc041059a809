"""`reslab env`."""

from reslab.cli.command import Command
from reslab.cli.output import JsonArguments, print_json
from reslab.environment import describe_environment


def run(asked: JsonArguments) -> int:
    """Shows what numbers depend on."""
    environment = describe_environment()
    if asked.json:
        print_json(environment)
        return 0
    packages = environment.pop("packages")
    for name, value in {**environment, **packages}.items():
        spoken = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:<13} {spoken or '-'}")
    return 0


COMMANDS = {
    "": Command(JsonArguments, "versions and processor, for a record or a bug report", "  reslab env --json", run)
}
