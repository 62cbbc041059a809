"""`reslab env`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from reslab.cli.arguments import parse, print_json
from reslab.environment import describe_environment


@dataclass(frozen=True)
class Arguments:
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> int:
    """Shows what numbers depend on."""
    asked = parse(Arguments, arguments, "env", "Show versions, processor and commit.")
    environment = describe_environment()
    if asked.json:
        print_json(environment)
        return 0
    rows = {**environment, **environment.pop("packages")}
    rows.pop("packages", None)
    for name, value in rows.items():
        print(f"{name:<13} {value if value is not None else '-'}")
    return 0
