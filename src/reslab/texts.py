"""Numbers as people read them. Importing this module imports nothing."""

__all__ = ["count", "show_count", "show_size"]


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
