"""Numbers as people read them. Importing this module imports nothing."""

__all__ = ["count", "printable", "show_count", "show_name", "show_size"]

_JOINERS = "\u200c\u200d"  # which Persian and emoji need, and which move nothing


def count(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 class`, `2,000 classes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def show_count(number: int) -> str:
    """A large number, rounded and exact: `40.55 M (40,551,040)`."""
    for size, letter in ((10**9, "G"), (10**6, "M")):
        if number >= size:
            return f"{number / size:.2f} {letter} ({number:,})"
    return f"{number:,}"


def show_size(num_bytes: int) -> str:
    """Bytes in megabytes or kilobytes."""
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:,.1f} kB"


def show_name(name: object) -> str:
    """A file's or class's name on one line of text: control characters and bytes that are no UTF-8 as escapes.

    Names come from archives and strangers; a newline in one would split a row, and an escape code colour a terminal.
    """
    return "".join(letter if letter.isprintable() or letter in _JOINERS else _escaped(letter) for letter in str(name))


def printable(text: str) -> str:
    """A text of several lines without what a terminal would take for commands."""
    return "\n".join(map(show_name, text.split("\n")))


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()
