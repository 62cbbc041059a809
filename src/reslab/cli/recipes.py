"""`reslab recipes`."""

from dataclasses import dataclass

from reslab.cli.command import Command, argument
from reslab.cli.output import JsonArguments, print_json, print_table
from reslab.training.recipe_files import load_recipe
from reslab.training.recipe_text import recipe_to_toml
from reslab.training.recipes import RECIPES, SUMMARIES

_DESCRIPTION = """\
  reslab recipes
  reslab recipes cifar-paper > mine.toml
  reslab train resnet20 --recipe mine.toml

A file may say less than all: base = "cifar-paper", and the fields that differ."""


@dataclass(frozen=True, kw_only=True)
class Arguments(JsonArguments):
    name: str | None = argument(None, "Name of a recipe, or a TOML file; without one all are listed.", metavar="NAME")


def run(asked: Arguments) -> int:
    """Lists recipes, or shows one."""
    if asked.name is not None:
        recipe = load_recipe(asked.name)
        if asked.json:
            print_json(recipe.to_dict())
        else:
            print(recipe_to_toml(recipe), end="")
        return 0
    if asked.json:
        print_json([{"name": name, "summary": SUMMARIES[name], **RECIPES[name].to_dict()} for name in RECIPES])
        return 0
    print_table(
        ("recipe", "length", "what it is"),
        [(name, str(recipe.schedule.length), SUMMARIES[name]) for name, recipe in RECIPES.items()],
    )
    return 0


COMMANDS = {"": Command(Arguments, "list the training recipes, or show one as TOML to start from", _DESCRIPTION, run)}
