"""Commands as data: a dataclass of fields for what may be given, and a function that does it.

Flags, their checks, `--help` and completion are made of the fields (`reslab.fields`). Importing this module imports
neither torch nor a library of tables.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from typing import Any

from reslab.cli.help import help_text
from reslab.cli.parser import UsageError, parse
from reslab.errors import suggestion
from reslab.fields import Leaf, knob

__all__ = ["Command", "argument", "dispatch", "flags_of"]

_HELP_FLAGS = ("-h", "--help", "--help-all")


@dataclass(frozen=True)
class Command:
    """A command.

    Args:
        form: dataclass of its arguments.
        summary: what it does, as a line of a list.
        description: examples and what else helps to use it.
        run: does it, and returns the exit code.
    """

    form: type
    summary: str
    description: str
    run: Callable[[Any], int]


def argument(default: Any = MISSING, help: str = "", *, metavar: str = "", **extra: Any) -> Any:
    """A positional argument: a field as `knob` makes it; a tuple takes any number."""
    return knob(default, help, positional=True, metavar=metavar, **extra)


def flags_of(
    leaves: Callable[[], Iterable[Leaf]],
    title: str,
    *,
    defaults: bool = True,
    meant: Callable[[str], str | None] = lambda name: None,
) -> Any:
    """A field that gathers other fields' flags as texts, by their paths; they are listed by --help-all only.

    Args:
        leaves: the fields, found when they are needed.
        title: above them in the help.
        defaults: whether the fields' defaults are what holds where none is given; a recipe has values of its own.
        meant: the field that an unknown flag may mean, from the flag's name.
    """
    return field(
        default_factory=dict, metadata={"leaves": leaves, "title": title, "defaults": defaults, "meant": meant}
    )


def dispatch(commands: Mapping[str, Command], name: str, intro: str, arguments: Sequence[str]) -> int:
    """Runs the command that the arguments name, or the only one.

    Args:
        commands: by name; the only one of a command without subcommands by an empty one.
        name: of all, behind `reslab`.
        intro: of the help of several.
        arguments: what follows the name.
    """
    if "" in commands:
        return _run(commands[""], name, arguments)
    if not arguments or arguments[0] in _HELP_FLAGS:
        width = max(map(len, commands))
        listed = "\n".join(f"  {key:<{width}}  {command.summary}" for key, command in commands.items())
        print(f"usage: reslab {name} COMMAND ...\n\n{intro}\n\n{listed}\n\nreslab {name} COMMAND --help tells more.")
        return 0
    wanted, *rest = arguments
    if wanted not in commands:
        hint = suggestion(wanted, commands, f"; there are {', '.join(commands)}.")
        raise UsageError(f"there is no command `reslab {name} {wanted}`{hint}")
    return _run(commands[wanted], f"{name} {wanted}", rest)


def _run(command: Command, name: str, arguments: Sequence[str]) -> int:
    if any(word in _HELP_FLAGS for word in arguments):
        print(help_text(command.form, command.summary, command.description, name, everything="--help-all" in arguments))
        return 0
    return command.run(parse(command.form, name, arguments))
