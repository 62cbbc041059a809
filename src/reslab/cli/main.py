"""Finds the command, and turns a user's mistake into a sentence and exit code 2.

Importing this module imports neither torch nor a library of tables, so that `reslab --help` is there at once.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from reslab.errors import ReslabError, ReslabWarning, suggestion
from reslab.files.atomic import unwound_by_sigterm
from reslab.streams import drop_stdout, open_missing_streams, say, telling
from reslab.texts import printable

__all__ = ["COMMANDS", "entry_point", "main"]

COMMANDS = {
    "models": "list the networks that have a name",
    "summary": "a network's layers: shapes, parameters, multiply-adds, memory",
    "compare": "where your own network differs from the paper's",
    "recipes": "list the training recipes, or show one as TOML to start from",
    "train": "train a network, or resume a run",
    "eval": "error rates of runs, weight files and ensembles, by the paper's test protocols",
    "precise-bn": "batch-norm statistics of a finished run as strict averages over training images",
    "calibrate": "make a run's probabilities as sure as it is right, on its val images",
    "convert": "rewrite weights with another library's names",
    "export": "write a network as an ONNX, OpenVINO or torch.export file, compared with PyTorch",
    "push": "send a run's weights and card to Hugging Face's hub",
    "quantize": "write a network in 8-bit integers, if it is as good and faster",
    "predict": "labels of image files, by a run, a weight file or an exported file",
    "explain": "what a network's answers rest on, drawn over the photos",
    "report": "a finished run as a page, and a model card",
    "data": "data sets: list, check for damage, measure, pack into shards",
    "paper": "the paper's experiments: list them, run one, redo its report",
    "bench": "speed and memory on this machine, against others' by turns",
    "runs": "list, filter and compare the runs under a folder",
    "env": "versions and processor, for a record or a bug report",
    "completion": "a script that lets a shell complete commands and flags",
}
_EXAMPLES = """\
First steps, in seconds to minutes on a laptop and without a download:
  reslab paper run fig1                  degradation and its cure, on handwritten digits
  reslab train resnet20 --data digits    one network
  reslab summary resnet20                what it is made of

reslab COMMAND --help tells more of each."""


def main(arguments: Sequence[str]) -> int:
    """Runs a command and returns its exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "--help-all", "help"):
        print(_help())
        return 0
    if arguments[0] in ("-V", "--version"):
        from reslab import __version__

        print(f"reslab {__version__}")
        return 0
    name, *rest = arguments
    try:
        if name not in COMMANDS:
            hint = suggestion(name, COMMANDS, "; `reslab --help` lists them.")
            raise ReslabError(f"there is no command {name!r}{hint}")
        from reslab.cli.command import dispatch

        module = import_module(f"reslab.cli.{name.replace('-', '_')}")
        with warnings.catch_warnings(), telling(), unwound_by_sigterm():
            warnings.simplefilter("default", ReslabWarning)  # each once
            warnings.showwarning = _show_warning
            code = dispatch(module.COMMANDS, name, getattr(module, "INTRO", ""), rest)
            sys.stdout.flush()  # what cannot be written is said now, and not when Python has left
            return code
    except ReslabError as error:
        return _refuse(str(error), error)
    except BrokenPipeError:  # the reader of our output has had enough, as `| head` does
        drop_stdout()
        return 141
    except OSError as error:
        if error.filename is None:  # of standard output, since files are named
            drop_stdout()
        return _refuse(f"{error.strerror or error}: {error.filename or 'standard output'}", error)
    except KeyboardInterrupt:
        say("\nreslab: interrupted")
        return 130


def entry_point() -> None:
    """The console script."""
    open_missing_streams()
    sys.exit(main(sys.argv[1:]))


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Ours as a sentence; others with the line of code that they come from."""
    ours = issubclass(category, ReslabWarning)
    text = f"reslab: {printable(str(message))}\n" if ours else warnings.formatwarning(message, category, *where[:2])
    sys.stderr.write(text)


def _refuse(sentence: str, error: Exception) -> int:
    if os.environ.get("RESLAB_TRACEBACK"):
        raise error
    say(f"reslab: {printable(sentence)}")
    return 2


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return (
        "reslab: the networks, recipes, protocols and first figures of the ResNet paper as commands\n\n"
        f"usage: reslab COMMAND ...\n\n{commands}\n\n{_EXAMPLES}"
    )
