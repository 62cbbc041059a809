from statistics import stdev

import pytest

from reslab.paper.experiments import EXPERIMENTS, Claim, find_experiment
from reslab.paper.reference import CIFAR_TEST_ERRORS
from reslab.paper.verdicts import judge, standard_error


def row(network: str, error: float) -> dict:
    return {
        "network": network,
        "train_error": error,
        "test_error": error,
        "num_last_images": 1000,
        "num_test_images": 1000,
    }


CLAIM = Claim("a is worse", "here", "train_error", higher="a", lower="b")
NO_WORSE = Claim("b is no worse than a", "here", "train_error", higher="a", lower="b", margin=-2.0)


@pytest.mark.parametrize(
    ("claim", "a", "b", "outcome"),
    [
        (CLAIM, [50], [10], "held"),
        (CLAIM, [10], [50], "not held"),
        (CLAIM, [11], [10], "undecided"),
        (CLAIM, [50, 51, 49], [10, 90, 10], "undecided"),
        (CLAIM, [50, 51, 49], [10, 11, 10], "held"),
        (NO_WORSE, [0], [0.1], "held"),
        (NO_WORSE, [0], [2], "undecided"),
        (NO_WORSE, [0], [9], "not held"),
        (NO_WORSE, [9], [0], "held"),
    ],
)
def test_an_outcome_needs_twice_the_standard_error(claim, a, b, outcome):
    rows = [row("a", error) for error in a] + [row("b", error) for error in b]
    assert judge(claim, rows).outcome == outcome


def test_the_standard_error_is_the_larger_of_sampling_and_seeds():
    assert standard_error([50], 10_000) == pytest.approx(0.5, rel=1e-3)
    errors = [10, 20, 30]
    assert standard_error(errors, 10**9) == pytest.approx(stdev(errors) / 3**0.5)
    assert standard_error([0], 100) > 0


def test_claims_are_about_networks_of_their_experiment():
    for experiment in EXPERIMENTS.values():
        for claim in experiment.claims:
            assert {claim.higher, claim.lower} <= set(experiment.models)
        assert find_experiment(experiment.name) is experiment


def test_quoted_numbers_are_the_papers():
    assert str(CIFAR_TEST_ERRORS["resnet56"]) == "6.97"
    assert str(CIFAR_TEST_ERRORS["plain20"]) == "about 9"
    errors = [CIFAR_TEST_ERRORS[f"resnet{depth}"].value for depth in (20, 32, 44, 56, 110, 1202)]
    assert errors == [8.75, 7.51, 7.17, 6.97, 6.43, 7.93]
