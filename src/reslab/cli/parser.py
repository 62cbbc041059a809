"""Command lines read into dataclasses; what cannot be read is a sentence that says what would do.

Importing this module imports neither torch nor a library of tables.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin

from reslab.cli.help import flag_name, flag_of, gathered, metavar, negative_of, shown
from reslab.errors import ReslabError, suggestion
from reslab.fields import KIND, Knob, knobs

__all__ = ["SYNONYMS", "UsageError", "make_parser", "parse"]


SYNONYMS = {
    "arch": "model",
    "batch": "batch-size",
    "bs": "batch-size",
    "dataset": "data",
    "gpu": "device",
    "num-workers": "workers",
    "top-k": "top",
    "topk": "top",
}
"""What other programs call some flags; the first that a command has is meant."""


class UsageError(ReslabError):
    """A command line that cannot be read; the message says what would do."""


def parse(form: type, name: str, arguments: Sequence[str]) -> Any:
    """A command's arguments.

    Args:
        form: dataclass of them.
        name: of the command, behind `reslab`.
        arguments: what follows the name.

    Raises:
        UsageError: they cannot be read.
    """
    parser = make_parser(form, name)
    given, unknown = parser.parse_known_intermixed_args([_normal(word) for word in arguments])
    if unknown:
        _refuse(unknown[0], parser, name, form)
    values: dict[str, Any] = {}
    for item in knobs(form):
        text = getattr(given, item.name, None)
        if text is not None:
            values[item.name] = _read(item, text)
    for group in gathered(form):
        paths = {leaf.path: getattr(given, leaf.path, None) for leaf in group.metadata["leaves"]()}
        values[group.name] = {path: text for path, text in paths.items() if text is not None}
    try:
        return form(**values)
    except TypeError:
        missing = next(item for item in knobs(form) if item.default is MISSING and item.name not in values)
        needed = shown(missing) if missing.extra.get("positional") else flag_of(missing)
        raise UsageError(f"reslab {name} needs {needed}: {missing.help}") from None


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
            parser.add_argument(item.name, nargs=nargs, default=None, metavar=metavar(item))
        else:
            _add(parser, item, item.name, optional=item.type is bool and item.optional)
    return parser


class _Parser(argparse.ArgumentParser):
    """Raises what argparse would print and exit with."""

    def error(self, message: str) -> NoReturn:
        if match := re.match(r"argument (\S+?)(?:/.*)?: expected (?:one|at least one) argument", message):
            raise UsageError(f"{match[1]} needs a value behind it.")
        if match := re.match(r"argument (\S+?)(?:/.*)?: ignored explicit argument (.*)", message):
            raise UsageError(f"{match[1]} takes no value, and got {match[2]}.")
        raise UsageError(f"cannot read the command line: {message}.")


def _add(parser: argparse.ArgumentParser, item: Knob, path: str, *, optional: bool) -> None:
    flag = flag_name(path)
    if item.type is bool:
        negative = negative_of(flag)
        if optional or item.default is not True:
            parser.add_argument(flag, dest=path, action="store_const", const="true", default=None)
        if optional or item.default is True:
            parser.add_argument(negative, dest=path, action="store_const", const="false", default=None)
        return
    many = get_origin(item.type) is tuple and item.extra.get("several")
    short = [flag.removesuffix(f".{KIND}")] if path.endswith(f".{KIND}") else []  # --optimizer muon
    parser.add_argument(flag, *short, dest=path, nargs="+" if many else None, default=None, metavar=metavar(item))


def _read(item: Knob, text: str | list[str]) -> Any:
    """The value of what was given."""
    name = metavar(item) if item.extra.get("positional") else flag_name(item.name)
    words = [text] if isinstance(text, str) else text
    if item.type is not bool and any(not word.strip() for word in words):
        raise UsageError(f"{name} is empty, as an unset variable is; leave it out, or give {item.takes}.")
    try:
        if isinstance(text, str):
            return item.parse(text)
        return (
            item.admit(tuple(text))
            if get_args(item.type)[0] in (str, Path)
            else item.parse(",".join(word.strip(",") for word in text))
        )
    except ValueError as takes:
        near = suggestion(words[0], item.choices)
        raise UsageError(f"{name} must be {takes}, not {' '.join(words)}{near}") from None


def _normal(word: str) -> str:
    """A flag with dashes, however it was written; values stay as they are."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return f"{flag.replace('_', '-')}{equals}{value}"


def _refuse(word: str, parser: argparse.ArgumentParser, name: str, form: type) -> NoReturn:
    if not word.startswith("-"):
        raise UsageError(
            f"reslab {name} does not know what to do with {word!r}; `reslab {name} --help` says what it takes."
        )
    flag = word.partition("=")[0]
    flags = [option for action in parser._actions for option in action.option_strings]
    meant = [SYNONYMS.get(flag.lstrip("-")), *(group.metadata["meant"](flag) for group in gathered(form))]
    for field in filter(None, meant):
        if (called := f"--{field.replace('_', '-')}") in flags:
            raise UsageError(f"reslab {name} has no {flag}; it is called {called}.")
    raise UsageError(
        f"reslab {name} has no {flag}{suggestion(flag, flags, f'; `reslab {name} --help-all` lists all.')}"
    )
