"""The schedules that a recipe can have: how long training lasts, and what the rate does. Imports no torch."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Self, TypeAlias

from reslab.errors import RecipeError
from reslab.fields import check, knob
from reslab.training.durations import Duration, changed_durations, iterations, read_durations

__all__ = [
    "Cosine",
    "DeepWarmUp",
    "Linear",
    "NoWarmUp",
    "Plateau",
    "ScheduleRecipe",
    "Steps",
    "UntilError",
]


@dataclass(frozen=True, kw_only=True)
class NoWarmUp:
    """Very deep nets start like all others."""

    kind: ClassVar[str] = "none"


@dataclass(frozen=True, kw_only=True)
class UntilError:
    """The paper's warm-up of ResNet-110: a lower rate until the training error shows that learning has begun."""

    kind: ClassVar[str] = "until-error"
    rate: float = knob(0.01, "Rate of the warm-up.", above=0)
    train_error: float = knob(
        80.0, "The warm-up ends when the training error over the window is below this, in %.", least=0, most=100
    )
    window: int = knob(50, "Iterations over which that error is averaged.", least=1)
    from_depth: int = knob(110, "Nets of at least so many layers warm up.", least=1)

    def __post_init__(self) -> None:
        check(self, RecipeError, "schedule.deep_warmup.")


DeepWarmUp: TypeAlias = NoWarmUp | UntilError


@dataclass(frozen=True, kw_only=True)
class _Schedule:
    """What all of them have."""

    length: Duration = knob(iterations(64_000), "Where training stops.")
    least_iterations: int = knob(
        0, "Where few images make a length in epochs shorter than this, the whole schedule is stretched to it.", least=0
    )
    made_for_images: int = knob(
        0,
        "Training images that the length is meant for; 0 for any number. Far fewer are refused, or said.",
        least=0,
    )
    warmup: Duration = knob(iterations(0), "Length over which the rate rises linearly from 0 first (arXiv 1706.02677).")
    deep_warmup: DeepWarmUp = knob(UntilError(), "What very deep nets do first: none, or the paper's warm-up.")

    def __post_init__(self) -> None:
        read_durations(self)
        check(self, RecipeError, "schedule.")
        if self.length.value == 0:
            raise RecipeError(f"schedule.length must be more than nothing, not {self.length}.")
        if self.least_iterations and self.length.unit == "iterations":
            raise RecipeError(
                f"schedule.least_iterations does nothing where schedule.length is {self.length}: it is for lengths in "
                "epochs or images."
            )
        self.check_order()

    def check_order(self) -> None:
        """Refuses what cannot be before the end, as far as it is known without the data.

        Raises:
            RecipeError: a warm-up that does not end before training does.
        """
        if self.warmup.unit == self.length.unit and self.warmup.value >= self.length.value:
            raise RecipeError(
                f"schedule.warmup, {self.warmup}, must end before schedule.length, {self.length}; "
                "to shorten a recipe as a whole use --iterations or --epochs."
            )

    def resolved(self, num_images: int, batch_size: int) -> Self:
        """In iterations, and for a known number of images.

        Raises:
            RecipeError: a warm-up or milestone that does not lie before the end.
        """

        def count(length: Duration) -> Duration:
            return length.in_iterations(num_images, batch_size)

        def exact(length: Duration) -> Fraction:
            return Fraction(length.value) * {"iterations": batch_size, "epochs": num_images, "images": 1}[length.unit]

        for name, place in self._places():
            if exact(place) >= exact(self.length):
                raise RecipeError(
                    f"schedule.{name}, {place}, is not before the end, schedule.length = {self.length}, with "
                    f"{num_images:,} images in batches of {batch_size}."
                )
        return self._with({**changed_durations(self, count), "least_iterations": 0, "made_for_images": 0})

    def rescaled(self, length: Duration) -> Self:
        """Stretched or shrunk to a length in the same unit; milestones and the warm-up keep their share of it."""
        new, old = length.value, self.length.value

        def stretched(place: Duration) -> Duration:
            value = place.value * new / old
            return replace(place, value=value if place.unit == "epochs" else round(value))

        warmup = self.warmup  # rounded down, so that it ends before the schedule does
        value = warmup.value * new / old if warmup.unit == "epochs" else int(Fraction(warmup.value) * new // old)
        changes = {**changed_durations(self, stretched), "warmup": replace(warmup, value=value), "length": length}
        return self._with({**changes, "least_iterations": 0, "made_for_images": 0})

    def _places(self) -> list[tuple[str, Duration]]:
        """What must lie before the end."""
        return [("warmup", self.warmup)]

    def _with(self, changes: dict[str, Any]) -> Self:
        """With changes after which, by rounding, places may coincide or lie at the end."""
        length = changes["length"]
        if changes["warmup"].unit == length.unit and changes["warmup"].value >= length.value:
            changes["warmup"] = replace(length, value=max(0, int(length.value) - 1))
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Steps(_Schedule):
    """The paper's: a constant rate between milestones (Sec. 4.2)."""

    kind: ClassVar[str] = "steps"
    milestones: tuple[Duration, ...] = knob(
        (iterations(32_000), iterations(48_000)), "Places from which on the rate is multiplied by the factor once more."
    )
    factor: float = knob(0.1, "Factor by which the rate is multiplied each time.", above=0)

    def check_order(self) -> None:
        """As in the base, and milestones too."""
        super().check_order()
        shown = ", ".join(map(str, self.milestones))
        units = {item.unit for item in self.milestones}
        if len(units) > 1:
            raise RecipeError(
                f"schedule.milestones {shown} are in different units: say each one's, as in 30 epochs,60 epochs."
            )
        if units == {"iterations"} and self.length.unit != "iterations":
            raise RecipeError(
                f"schedule.milestones {shown} are in iterations, and schedule.length, {self.length}, is in "
                f"{self.length.unit}: write the unit, as in 30 epochs,60 epochs, or give the length in iterations too."
            )
        values = [item.value for item in self.milestones]
        if values != sorted(set(values)) or 0 in values:
            raise RecipeError(f"schedule.milestones must be positive and increasing, not {shown}.")
        if units == {self.length.unit} and values[-1] >= self.length.value:
            raise RecipeError(
                f"schedule.milestones {shown} must lie before the end, schedule.length = {self.length}; "
                "to shorten a recipe as a whole use --iterations or --epochs."
            )

    def _places(self) -> list[tuple[str, Duration]]:
        return [*super()._places(), *(("milestones", milestone) for milestone in self.milestones)]

    def _with(self, changes: dict[str, Any]) -> Self:
        length = changes["length"]
        kept = {
            place.value: place
            for place in changes.get("milestones", ())
            if place.value and (place.unit != length.unit or place.value < length.value)
        }
        return super()._with({**changes, "milestones": tuple(kept[value] for value in sorted(kept))})


@dataclass(frozen=True, kw_only=True)
class Plateau(_Schedule):
    """The rate falls when the val error no longer does (Sec. 3.4)."""

    kind: ClassVar[str] = "plateau"
    factor: float = knob(0.1, "Factor by which the rate is multiplied each time.", above=0)
    evaluations: int = knob(5, "So many in a row without a better val error, and the rate falls.", least=1)
    threshold: float = knob(
        0.1, "Points of val error by which an evaluation must beat the best one to count as better.", least=0
    )
    drops: int = knob(3, "The rate falls so often at most.", least=0)


@dataclass(frozen=True, kw_only=True)
class Linear(_Schedule):
    """The rate falls linearly to 0 at the end."""

    kind: ClassVar[str] = "linear"


@dataclass(frozen=True, kw_only=True)
class Cosine(_Schedule):
    """The rate falls to 0 at the end as half a cosine (arXiv 1608.03983)."""

    kind: ClassVar[str] = "cosine"


ScheduleRecipe: TypeAlias = Steps | Plateau | Linear | Cosine
