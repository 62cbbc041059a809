"""Commands as data: a dataclass of fields for what may be given, and a function that does it.

Flags, their checks, `--help` and completion are made of the fields (`reslab.fields`). What cannot be read is a sentence
that says what would do. Importing this module imports neither torch nor a library of tables.
"""

import argparse
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin

from reslab.errors import ReslabError, suggestion
from reslab.fields import Knob, Leaf, knob, knobs, show

__all__ = ["Command", "UsageError", "argument", "dispatch", "flags_of", "help_text", "make_parser", "parse"]

_METAVARS: dict[Any, str] = {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH"}
_HELP_FLAGS = ("-h", "--help", "--help-all")


class UsageError(ReslabError):
    """A command line that cannot be read; the message says what would do."""


@dataclass(frozen=True)
class Command:
    """A command.

    Args:
        form: dataclass of its arguments.
        summary: what it does, as a line of a list.
        description: examples and what else helps to use it.
        run: does it, and returns the exit code.
        synonyms: names that other programs have for its flags, and its own.
    """

    form: type
    summary: str
    description: str
    run: Callable[[Any], int]
    synonyms: Mapping[str, str] = field(default_factory=dict)


def argument(default: Any = MISSING, help: str = "", *, metavar: str = "", **extra: Any) -> Any:
    """A positional argument: a field as `knob` makes it; a tuple takes any number."""
    return knob(default, help, positional=True, metavar=metavar, **extra)


def flags_of(leaves: Callable[[], Iterable[Leaf]], title: str) -> Any:
    """A field that gathers other fields' flags as texts, by their paths; they are listed by --help-all only.

    Args:
        leaves: the fields, found when they are needed.
        title: above them in the help.
    """
    return field(default_factory=dict, metadata={"leaves": leaves, "title": title})


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
        print(help_text(command, name, everything="--help-all" in arguments))
        return 0
    return command.run(parse(command, name, arguments))


def parse(command: Command, name: str, arguments: Sequence[str]) -> Any:
    """A command's arguments.

    Raises:
        UsageError: they cannot be read.
    """
    form = command.form
    parser = make_parser(form, name)
    given, unknown = parser.parse_known_args([_normal(word) for word in arguments])
    if unknown:
        _refuse(unknown[0], parser, name, command.synonyms)
    values: dict[str, Any] = {}
    for item in knobs(form):
        text = getattr(given, item.name, None)
        if text is not None:
            values[item.name] = _read(item, text)
    for gathered in _gathered(form):
        paths = {leaf.path: getattr(given, leaf.path, None) for leaf in gathered.metadata["leaves"]()}
        values[gathered.name] = {path: text for path, text in paths.items() if text is not None}
    try:
        return form(**values)
    except TypeError:
        missing = next(item for item in knobs(form) if item.default is MISSING and item.name not in values)
        raise UsageError(f"reslab {name} needs {_shown(missing)}: {missing.help}") from None


def make_parser(form: type, name: str) -> argparse.ArgumentParser:
    """argparse's parser of a dataclass's fields; it reads texts, which `parse` makes values of."""
    parser = _Parser(prog=f"reslab {name}", add_help=False, allow_abbrev=False)
    for item in knobs(form):
        extra = item.extra
        if "leaves" in extra:
            for leaf in extra["leaves"]():
                _add(parser, leaf.knob, leaf.path, optional=True)
        elif extra.get("positional"):
            several = get_origin(item.type) is tuple
            nargs = ("*" if extra.get("least_items", 0) == 0 else "+") if several else "?"
            parser.add_argument(item.name, nargs=nargs, default=None, metavar=_metavar(item))
        else:
            _add(parser, item, item.name, optional=item.type is bool and item.optional)
    return parser


def help_text(command: Command, name: str, *, everything: bool = False) -> str:
    """What `--help` prints, and with everything what `--help-all` does."""
    form = command.form
    positional = [item for item in knobs(form) if item.extra.get("positional")]
    rest = [item for item in knobs(form) if not item.extra.get("positional") and "leaves" not in item.extra]
    shown = [item for item in rest if everything or not item.extra.get("advanced")]
    usage = " ".join(["reslab", name, *map(_shown, positional), "[OPTIONS]"])
    parts = [f"usage: {usage}", f"{command.summary[:1].upper()}{command.summary[1:]}.\n\n{command.description.strip()}"]
    if positional:
        parts.append("arguments:\n" + "\n".join(_entry(_metavar(item), item) for item in positional))
    if shown:
        parts.append("options:\n" + "\n".join(_entry(_flag(item), item) for item in shown))
    hidden = [item for item in rest if item not in shown]
    gathered = list(_gathered(form))
    if everything:
        for group in gathered:
            rows = [_entry(_flag(leaf.knob, leaf.path), leaf.knob, leaf.kinds) for leaf in group.metadata["leaves"]()]
            parts.append(f"{group.metadata['title']}:\n" + "\n".join(rows))
    elif hidden or gathered:
        more = [
            *(f"--{item.name.replace('_', '-')}" for item in hidden),
            *(group.metadata["title"] for group in gathered),
        ]
        parts.append(_wrapped(f"--help-all also lists: {', '.join(more)}", ""))
    return "\n\n".join(parts)


class _Parser(argparse.ArgumentParser):
    """Raises what argparse would print and exit with."""

    def error(self, message: str) -> NoReturn:
        if match := re.match(r"argument (\S+?)(?:/.*)?: expected (?:one|at least one) argument", message):
            raise UsageError(f"{match[1]} needs a value behind it.")
        if match := re.match(r"argument (\S+?)(?:/.*)?: ignored explicit argument (.*)", message):
            raise UsageError(f"{match[1]} takes no value, and got {match[2]}.")
        raise UsageError(f"cannot read the command line: {message}.")


def _add(parser: argparse.ArgumentParser, item: Knob, path: str, *, optional: bool) -> None:
    flag = f"--{path.replace('_', '-')}"
    if item.type is bool:
        negative = _negative(flag)
        if optional or item.default is not True:
            parser.add_argument(flag, dest=path, action="store_const", const="true", default=None)
        if optional or item.default is True:
            parser.add_argument(negative, dest=path, action="store_const", const="false", default=None)
        return
    many = get_origin(item.type) is tuple and item.extra.get("several")
    parser.add_argument(flag, dest=path, nargs="+" if many else None, default=None, metavar=_metavar(item))


def _read(item: Knob, text: str | list[str]) -> Any:
    """The value of what was given."""
    name = _metavar(item) if item.extra.get("positional") else f"--{item.name.replace('_', '-')}"
    words = [text] if isinstance(text, str) else text
    if item.type is not bool and any(not word.strip() for word in words):
        raise UsageError(f"{name} is empty, as an unset variable is; leave it out, or give {item.takes}.")
    try:
        if isinstance(text, str):
            return item.parse(text)
        return item.admit(tuple(text)) if get_args(item.type)[0] in (str, Path) else item.parse(",".join(text))
    except ValueError as takes:
        near = suggestion(words[0], item.choices)
        raise UsageError(f"{name} must be {takes}, not {' '.join(words)}{near}") from None


def _normal(word: str) -> str:
    """A flag with dashes, however it was written; values stay as they are."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return f"{flag.replace('_', '-')}{equals}{value}"


def _refuse(word: str, parser: argparse.ArgumentParser, name: str, synonyms: Mapping[str, str]) -> NoReturn:
    if not word.startswith("-"):
        raise UsageError(
            f"reslab {name} does not know what to do with {word!r}; `reslab {name} --help` says what it takes."
        )
    flag = word.partition("=")[0]
    flags = [option for action in parser._actions for option in action.option_strings]
    if (meant := synonyms.get(flag.lstrip("-"))) and f"--{meant}" in flags:
        raise UsageError(f"reslab {name} has no {flag}; it is called --{meant}.")
    last = {option.rpartition(".")[2]: option for option in flags if "." in option}
    if (meant := last.get(flag.lstrip("-"))) is not None:
        raise UsageError(f"reslab {name} has no {flag}; it is called {meant}.")
    raise UsageError(
        f"reslab {name} has no {flag}{suggestion(flag, flags, f'; `reslab {name} --help-all` lists all.')}"
    )


def _gathered(form: type) -> Iterator[Any]:
    return (item for item in fields(form) if "leaves" in item.metadata)


def _metavar(item: Knob) -> str:
    if item.extra.get("metavar"):
        return str(item.extra["metavar"])
    if item.choices and item.type is not bool:
        return "|".join(item.choices)
    if item.extra.get("positional"):
        return item.name.upper()
    if get_origin(item.type) is tuple:
        return ",".join(["N"] * 2) + ",..." if not item.extra.get("several") else "TEXT ..."
    return _METAVARS.get(item.type, item.name.rpartition("_")[2].upper())


def _shown(item: Knob) -> str:
    name = _metavar(item)
    several = get_origin(item.type) is tuple
    return name if item.default is MISSING and not several else f"[{name}{' ...' if several else ''}]"


def _flag(item: Knob, path: str = "") -> str:
    flag = f"--{(path or item.name).replace('_', '-')}"
    if item.type is not bool:
        return f"{flag} {_metavar(item)}"
    if path or item.optional:
        return f"{flag}, {_negative(flag)}"
    return _negative(flag) if item.default is True else flag


def _negative(flag: str) -> str:
    """`--no-cache` for `--cache`, and `--data.no-flip` for `--data.flip`."""
    head, dot, last = flag.rpartition(".")
    return f"{head}{dot}no-{last}" if dot else f"--no-{flag.removeprefix('--')}"


def _entry(head: str, item: Knob, kinds: Sequence[str] = ()) -> str:
    text = item.help
    if kinds:
        text = f"{text} (of {', '.join(kinds)})"
    default = item.default
    if default not in (MISSING, None, "", (), False, True) and "efault" not in text:
        text = f"{text} Default: {show(default, ',' if item.extra.get('several') else '-')}."
    return f"  {head}\n{_wrapped(text, '      ')}"


def _wrapped(text: str, indent: str) -> str:
    width = max(60, min(100, shutil.get_terminal_size((100, 24)).columns))
    return textwrap.fill(" ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent)
