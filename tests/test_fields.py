"""Fields that describe themselves: what they take, from texts and from files, and what they say of the rest."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from reslab.errors import RecipeError, suggestion
from reslab.fields import build, check, knob, knobs, leaves, show, to_plain


@dataclass(frozen=True, kw_only=True)
class Sgd:
    kind: ClassVar[str] = "sgd"
    rate: float = knob(0.1, "Of learning.", above=0)
    nesterov: bool = knob(False, "Whether to look ahead.")


@dataclass(frozen=True, kw_only=True)
class Lamb:
    kind: ClassVar[str] = "lamb"
    rate: float = knob(0.01, "Of learning.", above=0)
    trust: float = knob(1.0, "In layers.", least=0, most=2)


@dataclass(frozen=True, kw_only=True)
class Plan:
    optimizer: Sgd | Lamb = knob(Sgd(), "What moves the weights.")
    steps: int = knob(10, "How many.", least=1, most=100)
    widths: tuple[int, ...] = knob((16, 32), "Channels.", least=1)
    range: tuple[float, float] = knob((0.0, 1.0), "Of something.", least=0, most=1)
    order: Literal["pre", "post"] = knob("post", "Of what.")
    out: Path | None = knob(None, "A file.")

    def __post_init__(self) -> None:
        check(self, RecipeError)


def test_plain_values_and_back():
    plan = build(Plan, {"optimizer": {"kind": "lamb", "trust": 2}, "widths": [8], "out": "x"}, RecipeError)
    assert plan == Plan(optimizer=Lamb(trust=2.0), widths=(8,), out=Path("x"))
    assert type(plan.optimizer.trust) is float
    assert build(Plan, to_plain(plan), RecipeError) == plan
    assert to_plain(plan)["optimizer"] == {"kind": "lamb", "rate": 0.01, "trust": 2.0}


def test_another_form_keeps_what_both_have():
    base = Plan(optimizer=Sgd(rate=0.5, nesterov=True))
    assert build(Plan, {"optimizer": {"kind": "lamb"}}, RecipeError, base=base).optimizer == Lamb(rate=0.5)
    assert build(Plan, {"optimizer": {"rate": 0.3}}, RecipeError, base=base).optimizer == Sgd(rate=0.3, nesterov=True)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"stepz": 1}, "a plan has no field stepz; did you mean steps?"),
        ({"q": 1}, "a plan has no field q; there are optimizer, steps, widths, range, order, out."),
        ({"steps": 0}, "steps must be a whole number from 1 to 100, not 0."),
        ({"steps": True}, "steps must be a whole number from 1 to 100, not true."),
        ({"steps": 2.0}, "steps must be a whole number from 1 to 100, not 2."),
        ({"order": "mid"}, "order must be pre or post, not mid."),
        ({"order": []}, "order must be pre or post, not ."),
        ({"widths": 3}, "widths must be whole numbers of at least 1, joined by dashes, not 3."),
        ({"range": [0.5]}, "range must be 2 numbers from 0 to 1, joined by commas, not 0.5."),
        ({"optimizer": 3}, "optimizer must be a table of fields, not 3."),
        ({"optimizer": {"kind": "lam"}}, "optimizer.kind must be sgd or lamb, not lam; did you mean lamb?"),
        (
            {"optimizer": {"trust": 1}},
            "optimizer.trust is for optimizer.kind = lamb, and here it is sgd: leave it out.",
        ),
        ({"optimizer": {"rate": float("nan")}}, "optimizer.rate must be a number above 0, not nan."),
        ([], "a plan must be a table of fields, not ."),
    ],
)
def test_everything_else_is_a_sentence(values, sentence):
    with pytest.raises(RecipeError) as refused:
        build(Plan, values, RecipeError, base=Plan(), where="a plan")
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    "wrong", [{"steps": 101}, {"widths": [8]}, {"optimizer": 1}, {"order": "x"}, {"range": (0, 2)}]
)
def test_an_instance_is_held_to_its_fields(wrong):
    with pytest.raises(RecipeError, match=f"{next(iter(wrong))} must be "):
        Plan(**wrong)


def test_texts():
    by_name = {item.name: item for item in knobs(Plan)}
    assert by_name["widths"].parse("3-4-6") == by_name["widths"].parse("3,4,6") == (3, 4, 6)
    assert by_name["range"].parse("0,0.5") == (0.0, 0.5)
    assert by_name["out"].parse("a/b") == Path("a/b")
    assert (show((3, 4)), show(True), show(0.1), show(1e-4)) == ("3-4", "true", "0.1", "0.0001")
    for name, text in (("steps", "1_0"), ("steps", "x"), ("widths", "3--4"), ("order", "POST"), ("range", "0")):
        with pytest.raises(ValueError, match=r"whole|numbers|pre or post"):
            by_name[name].parse(text)


def test_the_fields_of_all_forms_are_listed_with_their_owners():
    found = {leaf.path: leaf.kinds for leaf in leaves(Plan)}
    assert found["optimizer.trust"] == ("lamb",)
    assert found["optimizer.rate"] == ()
    assert found["optimizer.kind"] == ()
    assert next(leaf for leaf in leaves(Plan) if leaf.path == "optimizer.kind").knob.choices == ("sgd", "lamb")


@dataclass(frozen=True, kw_only=True)
class Length:
    TAKES: ClassVar[str] = "a length in metres"
    metres: int

    def __str__(self) -> str:
        return f"{self.metres} m"

    @classmethod
    def parse(cls, text: str) -> "Length":
        number, _, unit = text.partition(" ")
        if unit != "m":
            raise ValueError(cls.TAKES)
        return cls(metres=int(number))


@dataclass(frozen=True, kw_only=True)
class Walk:
    plan: Plan = knob(Plan(), "How.")
    length: Length = knob(Length(metres=5), "How far.")
    rests: tuple[Length, ...] = knob((), "Where.")


def test_a_text_is_the_kind_of_a_table():
    assert build(Walk, {"plan": {"optimizer": "lamb"}}, RecipeError, base=Walk()).plan.optimizer == Lamb(rate=0.1)
    with pytest.raises(RecipeError, match=r"plan\.optimizer\.kind must be sgd or lamb, not adam"):
        build(Walk, {"plan": {"optimizer": "adam"}}, RecipeError, base=Walk())
    with pytest.raises(RecipeError, match=r"plan must be a table of fields, not lamb"):
        build(Walk, {"plan": "lamb"}, RecipeError, base=Walk())


def test_types_with_a_text_of_their_own_are_written_and_read():
    walk = build(Walk, {"length": "7 m", "rests": ["1 m", "2 m"]}, RecipeError)
    assert walk == Walk(length=Length(metres=7), rests=(Length(metres=1), Length(metres=2)))
    assert to_plain(walk)["rests"] == ["1 m", "2 m"]
    rests = next(item for item in knobs(Walk) if item.name == "rests")
    assert rests.parse(show(walk.rests)) == walk.rests
    assert rests.takes == "values joined by commas, each a length in metres"
    with pytest.raises(RecipeError, match=r"length must be a length in metres, not 7 km"):
        build(Walk, {"length": "7 km"}, RecipeError)


@pytest.mark.parametrize("value", [(1, 2), (0.5, 1.0), ("a", "b"), (True, False)])
def test_several_values_are_shown_as_they_are_read(value):
    @dataclass(frozen=True)
    class Several:
        field: tuple[type(value[0]), ...] = knob(value, "Of them.")  # type: ignore[misc]

    (item,) = knobs(Several)
    assert item.parse(show(value)) == value


def test_the_conditions_of_a_field_are_those_of_all_its_tables():
    @dataclass(frozen=True, kw_only=True)
    class Deep:
        kind: ClassVar[str] = "deep"
        optimizer: Sgd | Lamb = knob(Sgd(), "What moves the weights.")

    @dataclass(frozen=True, kw_only=True)
    class Flat:
        kind: ClassVar[str] = "flat"

    @dataclass(frozen=True, kw_only=True)
    class Both:
        form: Deep | Flat = knob(Flat(), "Which.")

    found = {leaf.path: leaf for leaf in leaves(Both)}
    assert found["form.optimizer.trust"].conditions == (("form.kind", ("deep",)), ("form.optimizer.kind", ("lamb",)))
    assert found["form.optimizer.trust"].kinds == ("lamb",)
    assert found["form.optimizer.rate"].conditions == (("form.kind", ("deep",)),)
    assert found["form.optimizer.rate"].kinds == ()


def test_suggestions_do_not_mind_capitals():
    assert suggestion("RESNET20", ["resnet20", "vgg16"]) == "; did you mean resnet20?"
    assert suggestion("zzz", ["resnet20"]) == "."
