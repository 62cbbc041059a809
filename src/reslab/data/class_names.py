"""The order of classes, which is that of labels: from a file, and where a folder's own may not be what is meant."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from reslab.errors import DataError
from reslab.texts import show_name

__all__ = ["order_doubt", "read_class_names"]

_LARGEST = 1 << 24  # bytes; a hundred times ImageNet-21k's names


def read_class_names(names: str | Path | Sequence[str]) -> tuple[str, ...]:
    """The names of classes in the order of their labels.

    Args:
        names: a text file in UTF-8 with a class a line; or the names themselves.

    Raises:
        DataError: the file cannot be read, or a name is empty or there twice.
    """
    if not isinstance(names, str | Path):
        return _checked(tuple(names), "the list of classes", "entry")
    path, shown = Path(names), show_name(names)
    try:
        if not path.is_file():
            raise DataError(f"there is no file {shown} of classes; it is a text with the name of a class a line.")
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{shown} has more than {_LARGEST:,} bytes, and is no list of classes.")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{shown} is no text in UTF-8; give a text file with the name of a class a line.") from None
    except OSError as error:
        raise DataError(f"cannot read {shown}: {error.strerror}.") from None
    return _checked(tuple(line.strip() for line in text.rstrip().split("\n")), shown, "line")


def _checked(names: tuple[str, ...], where: str, unit: str) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not isinstance(name, str) or not name:
            raise DataError(f"{where} has no name in {unit} {number}; give one class a {unit}.")
        first = seen.setdefault(unicodedata.normalize("NFC", name), number)
        if first != number:
            raise DataError(f"{where} has the class {name!r} twice, in {unit}s {first} and {number}; remove one.")
    return names


def order_doubt(classes: Sequence[str]) -> str:
    """A sentence where classes in the order of their text stand in another one than in that of their numbers.

    Args:
        classes: in the order of their labels.
    """
    alike = len({re.sub(r"\d+", "#", name) for name in classes}) == 1  # nothing but numbers tells them apart
    by_number = sorted(classes, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    if not alike or list(classes) != sorted(classes) or by_number == list(classes):
        return ""
    place = next(at for at, (ours, theirs) in enumerate(zip(classes, by_number, strict=True)) if ours != theirs)
    return (
        f"labels go by the text of class folders, by which label {place} is {classes[place]!r}; by their numbers it "
        f"would be {by_number[place]!r}. --classes FILE, with a class a line, says another order."
    )
