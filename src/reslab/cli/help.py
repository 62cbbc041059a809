"""What `--help` prints, made of a command's fields."""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_origin

from reslab.fields import Knob, knobs, show

__all__ = ["flag_name", "flag_of", "gathered", "help_text", "metavar", "negative_of", "shown"]

_METAVARS: dict[Any, str] = {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH"}


def help_text(form: type, summary: str, description: str, name: str, *, everything: bool = False) -> str:
    """What `--help` prints, and with everything what `--help-all` does."""
    positional = [item for item in knobs(form) if item.extra.get("positional")]
    rest = [item for item in knobs(form) if not item.extra.get("positional") and "leaves" not in item.extra]
    listed = [item for item in rest if everything or not item.extra.get("advanced")]
    usage = " ".join(["reslab", name, *map(shown, positional), "[OPTIONS]"])
    parts = [f"usage: {usage}", f"{summary[:1].upper()}{summary[1:]}.\n\n{description.rstrip()}"]
    if positional:
        parts.append("arguments:\n" + "\n".join(_entry(metavar(item), item) for item in positional))
    if listed:
        parts.append("options:\n" + "\n".join(_entry(flag_of(item), item) for item in listed))
    hidden = [item for item in rest if item not in listed]
    groups = list(gathered(form))
    if everything:
        for group in groups:
            defaults = group.metadata["defaults"]
            rows = [
                _entry(flag_of(leaf.knob, leaf.path), leaf.knob, leaf.kinds, defaults=defaults)
                for leaf in group.metadata["leaves"]()
            ]
            parts.append(f"{group.metadata['title']}:\n" + "\n".join(rows))
    elif hidden or groups:
        more = [
            *(flag_name(item.name) for item in hidden),
            *(group.metadata["title"] for group in groups),
        ]
        parts.append(_wrapped(f"--help-all also lists: {', '.join(more)}", ""))
    return "\n\n".join(parts)


def gathered(form: type) -> Iterator[Any]:
    """The fields that gather other fields' flags."""
    return (item for item in fields(form) if "leaves" in item.metadata)


def metavar(item: Knob) -> str:
    """What stands for a value in the help."""
    if item.extra.get("metavar"):
        return str(item.extra["metavar"])
    if item.choices and item.type is not bool:
        return "|".join(item.choices)
    if item.extra.get("positional"):
        return item.name.upper()
    if get_origin(item.type) is tuple:
        return ",".join(["N"] * 2) + ",..." if not item.extra.get("several") else "TEXT ..."
    if hasattr(item.type, "TAKES"):
        return "LENGTH"
    return _METAVARS.get(item.type, item.name.rpartition("_")[2].upper())


def shown(item: Knob) -> str:
    """A positional argument in a usage line."""
    name = metavar(item)
    several = get_origin(item.type) is tuple
    return name if item.default is MISSING and not several else f"[{name}{' ...' if several else ''}]"


def flag_name(path: str) -> str:
    """A field's flag: `--batch-size`; one that is called like a word of Python has an underscore behind (`class_`)."""
    return f"--{path.rstrip('_').replace('_', '-')}"


def flag_of(item: Knob, path: str = "") -> str:
    """A field's flag with what stands for its value."""
    flag = flag_name(path or item.name)
    if item.type is not bool:
        return f"{flag} {metavar(item)}"
    if path or item.optional:
        return f"{flag}, {negative_of(flag)}"
    return negative_of(flag) if item.default is True else flag


def negative_of(flag: str) -> str:
    """`--no-cache` for `--cache`, and `--data.no-flip` for `--data.flip`."""
    head, dot, last = flag.rpartition(".")
    return f"{head}{dot}no-{last}" if dot else f"--no-{flag.removeprefix('--')}"


def _entry(head: str, item: Knob, kinds: Sequence[str] = (), *, defaults: bool = True) -> str:
    text = item.help
    if kinds:
        text = f"{text} (of {', '.join(kinds)})"
    default = item.default
    untold = default is MISSING or default is None or isinstance(default, bool) or default in ("", ())
    if defaults and not untold and "efault" not in text:
        text = f"{text} Default: {show(default, ',' if item.extra.get('several') else '-')}."
    return f"  {head}\n{_wrapped(text, '      ')}"


def _wrapped(text: str, indent: str) -> str:
    width = max(60, min(100, shutil.get_terminal_size((100, 24)).columns))
    return textwrap.fill(" ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent)
