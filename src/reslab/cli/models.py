"""`reslab models`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.table import Table

from reslab.cli.arguments import output_console, parse, print_json
from reslab.errors import ModelError
from reslab.models import list_models
from reslab.models.released import cards_of
from reslab.models.zoo import named_model


@dataclass(frozen=True)
class Arguments:
    pattern: Annotated[str, tyro.conf.Positional] = "*"
    """Shell-style wildcard, as in 'plain*'."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> int:
    """Lists the networks that have a name."""
    asked = parse(Arguments, arguments, "models", "List the networks that have a name.")
    names = list_models(asked.pattern)
    if not names:
        raise ModelError(f"no model's name matches {asked.pattern!r}; `reslab models` lists all.")
    models = {name: named_model(name) for name in names}
    if asked.json:
        print_json(
            [
                {
                    "name": name,
                    "source": model.source,
                    **model.spec.to_dict(),
                    "weights": [card.to_dict() for card in cards_of(name)],
                }
                for name, model in models.items()
            ]
        )
        return 0
    table = Table("name", "layers", "blocks", "block", "shortcut", "stem", "source", "released weights", box=None)
    for name, model in models.items():
        spec = model.spec
        blocks = "-".join(map(str, spec.blocks))
        weights = ", ".join(card.name for card in cards_of(name))
        table.add_row(name, str(spec.depth), blocks, spec.block, spec.shortcut, spec.stem, model.source, weights)
    output_console().print(table)
    print("\nAlso resnet{6n+2} and plain{6n+2} for every n, and any change in brackets: resnet20[shortcut=C].")
    return 0
