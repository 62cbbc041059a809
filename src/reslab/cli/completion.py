"""`reslab completion`."""

import argparse
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from reslab.cli.command import Command, argument
from reslab.cli.parser import make_parser

_DESCRIPTION = """\
  reslab completion bash > ~/.local/share/bash-completion/completions/reslab
  reslab completion zsh > ~/.zfunc/_reslab

The script is read by the shell when it starts."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    shell: Literal["bash", "zsh", "tcsh"] = argument(help="Shell: bash, zsh or tcsh.", metavar="SHELL")


def run(asked: Arguments) -> int:
    """Prints a shell's completion script."""
    import shtab

    from reslab.cli.main import COMMANDS as NAMES

    root = argparse.ArgumentParser(prog="reslab", add_help=False)
    commands = root.add_subparsers()
    for name, summary in NAMES.items():
        parts = import_module(f"reslab.cli.{name.replace('-', '_')}").COMMANDS
        if "" in parts:
            _add(commands, name, summary, parts[""], name)
            continue
        inner = commands.add_parser(name, help=summary, add_help=False).add_subparsers()
        for below, command in parts.items():
            _add(inner, below, command.summary, command, f"{name} {below}")
    print(shtab.complete(root, asked.shell))
    return 0


def _add(
    parsers: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, command: Command, full: str
) -> None:
    parent = make_parser(command.form, full)
    parsers.add_parser(name, help=summary, parents=[parent], add_help=False, conflict_handler="resolve")


COMMANDS = {"": Command(Arguments, "a script that lets a shell complete commands and flags", _DESCRIPTION, run)}
