"""How long something lasts in a training: in iterations, in epochs, or in images. Importing this imports no torch."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Literal, Self, cast, get_args

from reslab.errors import RecipeError
from reslab.fields import knobs

__all__ = ["Duration", "Unit", "changed_durations", "epochs", "images", "iterations", "read_durations"]

Unit = Literal["iterations", "epochs", "images"]
_LARGEST = 1 << 40
_FACTORS = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000}
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kKM]?)\s*(iteration|epoch|image)?s?\s*")


@dataclass(frozen=True)
class Duration:
    """A length of training.

    Args:
        value: how many; iterations and images are whole numbers.
        unit: of what.

    Raises:
        RecipeError: a negative number, part of an iteration or image, or more than 2^40.
    """

    value: int | float
    unit: Unit = "iterations"

    TAKES: ClassVar[str] = "a length of training, as in 64k iterations, 90 epochs or 1.28M images"

    def __post_init__(self) -> None:
        number = self.value
        whole = number == int(number) if isinstance(number, float) and abs(number) <= _LARGEST else True
        if self.unit not in get_args(Unit) or isinstance(number, bool) or not 0 <= number <= _LARGEST:
            raise RecipeError(f"{number} {self.unit} is no {self.TAKES[2:]}, of up to 2^40.")
        if not whole and self.unit != "epochs":
            raise RecipeError(f"{number} {self.unit}: there are whole {self.unit} only; epochs may have a fraction.")
        if isinstance(number, float) and whole:
            object.__setattr__(self, "value", int(number))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `90 epochs`, `64k iterations`, `1.28M images`; a number alone counts iterations.

        Raises:
            ValueError: it is none of these; the message is what would be.
        """
        match = _TEXT.fullmatch(text)
        if not match:
            raise ValueError(cls.TAKES)
        number, letter, unit = match.groups()
        if unit is None and text.strip().endswith("s"):
            raise ValueError(cls.TAKES)
        exact = Decimal(number) * _FACTORS[letter]
        value = int(exact) if exact == exact.to_integral_value() else float(exact)
        try:
            return cls(value, cast(Unit, f"{unit or 'iteration'}s"))
        except RecipeError:
            raise ValueError(cls.TAKES) from None

    def __str__(self) -> str:
        """What `parse` reads back: `64k iterations`."""
        unit = self.unit.removesuffix("s") if self.value == 1 else self.unit
        return f"{_short(self.value)} {unit}"

    def __int__(self) -> int:
        """The number of iterations.

        Raises:
            RecipeError: it is in epochs or images, which only the data can turn into iterations.
        """
        if self.unit != "iterations":
            raise RecipeError(
                f"how many iterations {self} are depends on the data: take `recipe.resolved(num_images)` first."
            )
        return int(self.value)

    def in_iterations(self, num_images: int, batch_size: int) -> "Duration":
        """The same as a number of iterations: rounded once, and at least one unless it is nothing.

        An epoch is `num_images / batch_size` iterations, which need not be a whole number.
        """
        if self.unit == "iterations" or self.value == 0:
            return Duration(int(self.value))
        num_seen = self.value * num_images if self.unit == "epochs" else self.value
        return Duration(max(1, round(num_seen / batch_size)))


def iterations(number: int) -> Duration:
    """So many updates of the weights."""
    return Duration(number, "iterations")


def epochs(number: float) -> Duration:
    """So many times as many images as there are for training."""
    return Duration(number, "epochs")


def images(number: int) -> Duration:
    """So many images, repeated ones included."""
    return Duration(number, "images")


def read_durations(table: Any) -> None:
    """Lets a new table's lengths be given as texts or whole numbers, as in files: `length="90 epochs"`."""
    owner: type = table.__class__
    for item in knobs(owner):
        value = getattr(table, item.name)
        if item.type is Duration and type(value) in (str, int):
            value = _read(value)
        elif item.type == tuple[Duration, ...] and isinstance(value, tuple | list):
            value = tuple(_read(one) if type(one) in (str, int) else one for one in value)
        object.__setattr__(table, item.name, value)


def _read(value: str | int) -> Duration | str | int:
    try:
        return Duration.parse(str(value))
    except ValueError:
        return value  # which `check` refuses


def changed_durations(table: Any, change: Callable[[Duration], Duration]) -> dict[str, Any]:
    """The fields of a table that hold durations, or tuples of them, with each duration changed."""
    changed: dict[str, Any] = {}
    owner: type = table.__class__
    for item in knobs(owner):
        value = getattr(table, item.name)
        if isinstance(value, Duration):
            changed[item.name] = change(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Duration):
            changed[item.name] = tuple(map(change, value))
    return changed


def _short(value: int | float) -> str:
    """A number as people write it, exactly: 64k, 1.28M, 450410, 0.5."""
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    if value >= 1_000_000 and value % 10_000 == 0:
        return f"{(Decimal(value) / 1_000_000).normalize():f}M"
    if value >= 1_000 and value % 1_000 == 0:
        return f"{value // 1_000}k"
    return str(value)
