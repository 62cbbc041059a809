"""Lengths of training as people write them, and as iterations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reslab.errors import RecipeError
from reslab.training.durations import Duration, epochs, images, iterations


@pytest.mark.parametrize(
    ("text", "duration", "shown"),
    [
        ("90 epochs", epochs(90), "90 epochs"),
        ("1 epoch", epochs(1), "1 epoch"),
        ("0.5epochs", epochs(0.5), "0.5 epochs"),
        ("64k iterations", iterations(64_000), "64k iterations"),
        ("64000", iterations(64_000), "64k iterations"),
        ("720", iterations(720), "720 iterations"),
        ("1 iteration", iterations(1), "1 iteration"),
        ("1.28M images", images(1_280_000), "1.28M images"),
        ("1281167 images", images(1_281_167), "1281167 images"),
        ("2M", iterations(2_000_000), "2M iterations"),
        (" 0 epochs ", epochs(0), "0 epochs"),
    ],
)
def test_texts_and_back(text, duration, shown):
    assert Duration.parse(text) == duration
    assert str(duration) == shown
    assert Duration.parse(shown) == duration


@given(st.integers(0, 1 << 40), st.sampled_from(["iterations", "images", "epochs"]))
def test_every_whole_number_is_read_back_as_it_is_shown(value, unit):
    assert Duration.parse(str(Duration(value, unit))) == Duration(value, unit)


@given(st.floats(1e-9, 1e6))
def test_every_fraction_of_epochs_is_read_back_as_it_is_shown(value):
    assert Duration.parse(str(epochs(value))) == epochs(value)


@pytest.mark.parametrize(
    "text",
    ["", "-1", "1.5", "1.5 images", "ten epochs", "1_0", "64,000", "1e3", "5 s", "5s", "nan", "9" * 20, "3 years"],
)
def test_other_texts_are_none(text):
    with pytest.raises(ValueError, match=r"a length of training, as in 64k iterations, 90 epochs or 1\.28M images"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("value", "unit"), [(-1, "iterations"), (0.5, "images"), (float("nan"), "epochs"), (1 << 41, "images"), (1, "days")]
)
def test_what_is_no_length_is_refused(value, unit):
    with pytest.raises(RecipeError, match=r"is no length of training|whole images only"):
        Duration(value, unit)


def test_iterations_are_rounded_once_and_never_to_none():
    assert epochs(90).in_iterations(1_281_167, 256) == iterations(450_410)
    assert epochs(0.001).in_iterations(6, 256) == iterations(1)
    assert epochs(0).in_iterations(6, 256) == iterations(0)
    assert images(1_000).in_iterations(6, 256) == iterations(4)
    assert iterations(7).in_iterations(6, 256) == iterations(7)
    assert int(iterations(7)) == 7
    with pytest.raises(RecipeError, match=r"how many iterations 90 epochs are depends on the data"):
        int(epochs(90))
