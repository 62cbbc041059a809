"""`reslab models`."""

from dataclasses import dataclass

from reslab.cli.command import Command, argument
from reslab.cli.output import JsonArguments, print_json, print_table
from reslab.errors import ModelError, suggestion
from reslab.models import list_models
from reslab.models.released import cards_of
from reslab.models.zoo import named_model

_DESCRIPTION = """\
  reslab models 'plain*'
  reslab models resnet50 --json        with its released weights

Besides the registered ones, resnet{6n+2} and plain{6n+2} are known for every n, and any change in brackets makes
another network: resnet20[shortcut=C]."""


@dataclass(frozen=True, kw_only=True)
class Arguments(JsonArguments):
    pattern: str = argument("*", "Shell-style wildcard; all by default.", metavar="PATTERN")


def run(asked: Arguments) -> int:
    """Lists the networks that have a name."""
    names = list_models(asked.pattern)
    if not names:
        hint = suggestion(asked.pattern, list_models(), "; `reslab models` lists all.", most=3)
        raise ModelError(f"no model's name matches {asked.pattern!r}{hint}")
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
    rows = []
    for name, model in models.items():
        spec = model.spec
        weights = ", ".join(card.name for card in cards_of(name))
        blocks = "-".join(map(str, spec.blocks))
        rows.append((name, str(spec.depth), blocks, spec.block, spec.shortcut, spec.stem, model.source, weights))
    headings = ("name", "layers", "blocks", "block", "shortcut", "stem", "source", "released weights")
    print_table(headings, rows, right=("layers",))
    print("\nAlso resnet{6n+2} and plain{6n+2} for every n, and any change in brackets: resnet20[shortcut=C].")
    return 0


COMMANDS = {"": Command(Arguments, "list the networks that have a name", _DESCRIPTION, run)}
