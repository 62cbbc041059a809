"""What the paper says, in forms that measurements can support or contradict. Importing this module imports no torch.

A claim is about a measured value of some arms: networks, or one network trained or tested in several ways. `judge`
(reslab.paper.judging) says whether it held.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from reslab.errors import ReslabError
from reslab.fields import build, check, knob, to_plain

__all__ = ["AnyClaim", "Bound", "Claim", "Equal", "Less", "Ratio", "Trend"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What all kinds of claims share.

    Args:
        text: the claim, a sentence.
        source: where the paper makes it: "Table 6", "Sec. 4.1".
        value: name of the measured value that it is about, such as "test_error".

    Raises:
        ReslabError: a field has another value than it takes, or fields contradict each other.
    """

    kind: ClassVar[str]

    text: str = knob(help="The claim, a sentence.")
    source: str = knob(help="Where the paper makes it.")
    value: str = knob(help="Name of the measured value that it is about.")

    if TYPE_CHECKING:  # of most kinds a property, and of Trend a field, which a property here would keep from being set

        @property
        def arms(self) -> tuple[str, ...]:
            """The arms that it needs."""

    def __post_init__(self) -> None:
        if type(self) is Claim:
            raise ReslabError("a claim is of a kind: make a Less, an Equal, a Trend, a Ratio or a Bound.")
        check(self, ReslabError, prefix="a claim's ")
        for name in ("text", "source", "value"):
            if not getattr(self, name).strip():
                raise ReslabError(f"a claim's {name} must not be empty: {self}.")
        if not all(arm.strip() for arm in self.arms):
            raise ReslabError(f"the claim {self.text!r} must name its arms, not {self.arms}.")
        if len(set(self.arms)) < len(self.arms):
            raise ReslabError(f"the claim {self.text!r} compares an arm with itself: its arms are {self.arms}.")

    def to_dict(self) -> dict[str, Any]:
        """As plain values; `from_dict` reads them back."""
        return to_plain(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "AnyClaim":
        """A claim from what `to_dict` gave.

        Raises:
            ReslabError: an unknown kind or field, or a value that a field does not take.
        """
        claim: AnyClaim = build(AnyClaim, values, ReslabError, where="a claim")
        return claim


@dataclass(frozen=True, kw_only=True)
class Less(Claim):
    """`higher`'s value exceeds `lower`'s by more than a margin.

    Args:
        lower: arm with the lower value.
        higher: arm with the higher one.
        margin: in the value's unit. A negative one says "is no worse than": `lower`'s value may exceed `higher`'s by
            at most so much.
    """

    kind: ClassVar[str] = "less"

    lower: str = knob(help="Arm with the lower value.")
    higher: str = knob(help="Arm with the higher value.")
    margin: float = knob(0.0, "By more than this `higher` exceeds `lower`, in the value's unit.")

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that it needs."""
        return (self.lower, self.higher)


@dataclass(frozen=True, kw_only=True)
class Equal(Claim):
    """Two arms' values differ by less than a margin.

    Args:
        first: arm.
        second: the other one.
        margin: in the value's unit. With 0 they are exactly the same, which only computed values can be shown to be.
    """

    kind: ClassVar[str] = "equal"

    first: str = knob(help="Arm.")
    second: str = knob(help="The other arm.")
    margin: float = knob(help="By less than this they differ, in the value's unit.", least=0)

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that it needs."""
        return (self.first, self.second)


@dataclass(frozen=True, kw_only=True)
class Trend(Claim):
    """The value changes in one direction from arm to arm.

    Args:
        arms: in the order of the trend, at least two.
        rising: whether the value grows from each arm to the next; otherwise it falls.
    """

    kind: ClassVar[str] = "trend"

    arms: tuple[str, ...] = knob(help="Arms in the order of the trend.")
    rising: bool = knob(help="Whether the value grows from each arm to the next; otherwise it falls.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.arms) < 2:
            raise ReslabError(f"the trend {self.text!r} needs two arms or more, not {len(self.arms)}.")


@dataclass(frozen=True, kw_only=True)
class Ratio(Claim):
    """One arm's value, divided by another's, lies within limits.

    Args:
        over: arm whose value is divided.
        under: arm by whose value it is divided.
        least: smallest ratio that agrees with the claim; None for no such limit.
        most: largest; None for no such limit.
    """

    kind: ClassVar[str] = "ratio"

    over: str = knob(help="Arm whose value is divided.")
    under: str = knob(help="Arm by whose value it is divided.")
    least: float | None = knob(None, "Smallest ratio that agrees.")
    most: float | None = knob(None, "Largest ratio that agrees.")

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that it needs."""
        return (self.over, self.under)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_limits(self.text, self.least, self.most)


@dataclass(frozen=True, kw_only=True)
class Bound(Claim):
    """An arm's value lies within limits.

    Args:
        arm: whose value it is.
        least: smallest value that agrees with the claim; None for no such limit.
        most: largest; None for no such limit.
    """

    kind: ClassVar[str] = "bound"

    arm: str = knob(help="Arm whose value it is.")
    least: float | None = knob(None, "Smallest value that agrees.")
    most: float | None = knob(None, "Largest value that agrees.")

    @property
    def arms(self) -> tuple[str, ...]:
        """The arm that it needs."""
        return (self.arm,)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_limits(self.text, self.least, self.most)


AnyClaim = Less | Equal | Trend | Ratio | Bound


def _check_limits(text: str, least: float | None, most: float | None) -> None:
    if least is None and most is None:
        raise ReslabError(f"the claim {text!r} says nothing: give least, most or both.")
    if least is not None and most is not None and least > most:
        raise ReslabError(f"the claim {text!r} can never hold: its least, {least:g}, is above its most, {most:g}.")
