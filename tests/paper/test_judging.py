"""Verdicts on every kind of claim."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reslab.errors import ReslabError
from reslab.paper.claims import Bound, Equal, Less, Ratio, Trend
from reslab.paper.judging import Sample, judge

SAID = {"text": "It is so.", "source": "Table 6", "value": "test_error"}
LESS = Less(**SAID, lower="b", higher="a")
NO_WORSE = Less(**SAID, lower="b", higher="a", margin=-2.0)
EQUAL = Equal(**SAID, first="a", second="b", margin=1.0)
FALLING = Trend(**SAID, arms=("a", "b", "c"), rising=False)
RISING = Trend(**SAID, arms=("c", "b", "a"), rising=True)
TWICE = Ratio(**SAID, over="a", under="b", least=1.5, most=2.5)
SMALL = Bound(**SAID, arm="a", most=5.0)
BETWEEN = Bound(**SAID, arm="a", least=2.0, most=5.0)


def samples(*values: tuple[float, ...], num_images: int | None = None) -> dict[str, Sample]:
    return {name: Sample(values=own, num_images=num_images) for name, own in zip("abc", values, strict=False)}


@pytest.mark.parametrize(
    ("claim", "values", "outcome"),
    [
        (LESS, [(50, 51, 49), (10, 11, 10)], "held"),
        (LESS, [(10, 11, 10), (50, 51, 49)], "not held"),
        (LESS, [(50, 51, 49), (10, 90, 10)], "undecided"),
        (NO_WORSE, [(9, 9.1, 9.2), (9.1, 9.2, 9.4)], "held"),
        (NO_WORSE, [(9, 9.1, 9.2), (19, 19.4)], "not held"),
        (NO_WORSE, [(9, 9.1, 9.2), (11, 11.1, 11.2, 11.3)], "undecided"),
        (EQUAL, [(9, 9.1, 9.2), (9.1, 9.2, 9.0)], "held"),
        (EQUAL, [(9, 9.1, 9.2), (11, 11.2, 11.1)], "not held"),
        (EQUAL, [(9, 9.1, 9.2), (8, 10.2, 9.3)], "undecided"),
        (FALLING, [(9, 9.1, 9.2), (8, 8.1), (7, 7.2, 7.1)], "held"),
        (FALLING, [(9, 9.1, 9.2), (8, 8.1), (9, 9.2, 9.1)], "not held"),
        (FALLING, [(9, 9.1, 9.2), (8, 8.1), (7, 9.2, 8.1)], "undecided"),
        (TWICE, [(8, 8.1, 8.2), (4, 4.1)], "held"),
        (TWICE, [(4, 4.1, 4.2), (4, 4.1)], "not held"),
        (TWICE, [(16, 16.1, 16.2), (4, 4.1)], "not held"),
        (TWICE, [(8, 8.1, 8.2), (4, 4.5, 5.5)], "undecided"),
        (SMALL, [(3, 3.1, 3.2)], "held"),
        (SMALL, [(7, 7.1, 7.2)], "not held"),
        (SMALL, [(3, 4.9, 6)], "undecided"),
        (BETWEEN, [(3, 3.1, 3.2)], "held"),
        (BETWEEN, [(1, 1.1, 1.2)], "not held"),
        (BETWEEN, [(2, 2.1, 2.2)], "undecided"),
    ],
)
def test_every_kind_is_held_not_held_or_undecided(claim, values, outcome):
    verdict = judge(claim, samples(*values))
    assert verdict.outcome == outcome
    assert verdict.low <= verdict.estimate <= verdict.high
    assert judge(claim, samples(*values, num_images=10**9)).outcome == outcome


@pytest.mark.parametrize(
    ("claim", "values", "outcome"),
    [
        (LESS, [50, 10], "held"),
        (LESS, [10, 50], "not held"),
        (LESS, [11, 10], "undecided"),
        (NO_WORSE, [0, 0.1], "held"),
        (NO_WORSE, [0, 2], "undecided"),
        (NO_WORSE, [0, 9], "not held"),
        (EQUAL, [0, 0], "held"),
        (EQUAL, [100, 100], "held"),
        (EQUAL, [100, 0], "not held"),
        (FALLING, [30, 20, 10], "held"),
        (FALLING, [30, 20, 40], "not held"),
        (FALLING, [30, 20, 20], "undecided"),
        (TWICE, [40, 20], "held"),
        (TWICE, [20, 20], "not held"),
        (TWICE, [20, 0], "undecided"),
        (SMALL, [0], "held"),
        (SMALL, [10], "not held"),
        (SMALL, [5], "undecided"),
    ],
)
def test_one_seed_is_judged_by_its_images_and_says_so(claim, values, outcome):
    verdict = judge(claim, samples(*((value,) for value in values), num_images=1000))
    assert verdict.outcome == outcome
    if verdict.low is not None:
        assert verdict.basis == "1 seed: sampling of images alone"


@pytest.mark.parametrize(
    ("claim", "values", "outcome"),
    [
        (LESS, [2, 1], "held"),
        (LESS, [1, 1], "not held"),
        (Equal(**SAID, first="a", second="b", margin=0), [1, 1], "held"),
        (Equal(**SAID, first="a", second="b", margin=0), [1, 2], "not held"),
        (EQUAL, [1, 2], "not held"),
        (FALLING, [3, 2, 1], "held"),
        (FALLING, [3, 2, 2], "not held"),
        (TWICE, [3, 2], "held"),
        (TWICE, [2.9, 2], "not held"),
        (SMALL, [5], "held"),
        (SMALL, [5.1], "not held"),
    ],
)
def test_computed_values_are_never_undecided(claim, values, outcome):
    exact = {name: Sample(values=(value,), exact=True) for name, value in zip("abc", values, strict=False)}
    verdict = judge(claim, exact, num_claims=1000)
    assert (verdict.outcome, verdict.basis) == (outcome, "computed")


def test_a_verdict_says_all_its_figures():
    verdict = judge(LESS, samples((13.0, 13.4), (9.0, 9.2, 9.4), num_images=10_000), num_claims=5)
    known = "test error of b 9.20 ± 0.20 %, a 13.20 ± 0.28 %: difference +4.00 points, from +"
    assert verdict.explanation.startswith(known)
    assert verdict.explanation.endswith("at 99 %")
    assert (verdict.claim, verdict.source, verdict.level) == ("It is so.", "Table 6", pytest.approx(0.99))
    assert json.loads(json.dumps(verdict.to_dict()))["outcome"] == "held"
    trend = judge(FALLING, samples((9, 9.1), (8, 8.1), (9, 9.1)))
    assert "b to c, which goes against it, is down by -1, from -" in trend.explanation
    assert trend.level == pytest.approx(0.975)  # a half of alpha for each step
    equal = judge(EQUAL, samples((9, 9.1), (9, 9.2)))
    assert equal.level == pytest.approx(0.9)


def test_equality_is_decided_by_two_one_sided_tests():
    a, b = (9.0, 9.4, 9.1, 9.3), (9.1, 9.9, 9.5)
    for margin in np.linspace(0.1, 1.5, 29):
        claim = Equal(**SAID, first="a", second="b", margin=margin)
        below = stats.ttest_ind(np.array(a) + margin, b, equal_var=False, alternative="greater").pvalue
        above = stats.ttest_ind(np.array(a) - margin, b, equal_var=False, alternative="less").pvalue
        held = judge(claim, samples(a, b)).outcome == "held"
        assert held == (max(below, above) < 0.05)


def test_differences_are_decided_as_by_welchs_test(rng):
    for _ in range(50):
        a, b = rng.normal(1.5, 1, 4), rng.normal(0, 0.5, 3)
        verdict = judge(LESS, samples(tuple(a), tuple(b)), num_claims=2)
        rejected = stats.ttest_ind(a, b, equal_var=False).pvalue < 0.025
        assert (verdict.outcome != "undecided") == rejected


def test_trends_that_are_none_are_seldom_called_so(rng):
    """Of four arms that are all the same, any of three steps may go the wrong way by chance."""
    claim = Trend(**SAID, arms=("a", "b", "c", "d"), rising=True)
    outcomes = []
    for values in rng.normal(size=(400, 4, 5)):
        arms = {name: Sample(values=tuple(own)) for name, own in zip("abcd", values, strict=True)}
        outcomes.append(judge(claim, arms).outcome)
    assert outcomes.count("held") == 0
    assert outcomes.count("not held") / 400 < 0.05 + 2.6 * (0.05 * 0.95 / 400) ** 0.5


def test_few_seeds_on_known_images_get_the_images_interval_beside(rng):
    wrong = {"a": rng.random((2, 400)) < 0.3, "b": rng.random((4, 400)) < 0.2}
    kept = {
        name: Sample(values=tuple(100 * own.mean(axis=1)), num_images=400, wrong=own) for name, own in wrong.items()
    }
    verdict = judge(LESS, kept)
    assert verdict.image_low < verdict.estimate < verdict.image_high
    half = 196 * (wrong["a"].mean(axis=0) - wrong["b"].mean(axis=0)).std() / 20
    assert verdict.image_high - verdict.image_low == pytest.approx(2 * half, rel=0.1)
    assert judge(LESS, samples((30, 31), (20, 21), num_images=400)).image_low is None


@pytest.mark.parametrize("claim", [LESS, EQUAL, FALLING, TWICE, SMALL])
def test_what_cannot_be_told_is_undecided_with_a_reason(claim):
    for values, reason in (
        ([(3.0,), (4.0,), (5.0,)], "1 seed, and no estimate of its spread"),
        ([(3.0,) * 3, (4.0,) * 3, (5.0,) * 3], "the seeds do not differ at all"),
        ([(3.0, float("nan")), (4.0, 5.0), (6.0, 7.0)], "a has a value that is not a finite number"),
        ([(float("inf"), 3.0), (4.0,), (6.0,)], "a has a value that is not a finite number"),
    ):
        verdict = judge(claim, samples(*values))
        assert (verdict.outcome, verdict.estimate, verdict.low) == ("undecided", None, None)
        assert verdict.basis.startswith(reason)
        assert reason in verdict.explanation
        json.dumps(verdict.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"samples": {"a": Sample(values=(1.0,))}}, "needs a sample of b; there are samples of a"),
        ({"samples": {}}, "needs a sample of b and of a; there are samples of no arm"),
        ({"num_claims": 0}, "num_claims must be a whole number"),
        ({"confidence": 95}, "confidence must be at least 0.5 and below 1, not 95"),
        ({"confidence": 1 - 1e-13}, "more certainty than can be computed"),
    ],
)
def test_a_question_without_an_answer_gets_a_sentence(arguments, said):
    with pytest.raises(ReslabError, match=said):
        judge(LESS, **{"samples": samples((1, 2), (3, 4)), **arguments})


RATES = st.lists(st.floats(0, 100).map(lambda rate: round(rate, 2)), min_size=1, max_size=4).map(tuple)


@settings(deadline=None, max_examples=80, derandomize=True)
@given(a=RATES, b=RATES, images=st.sampled_from([50, 10_000]), margin=st.floats(0, 5))
def test_swapping_the_arms_mirrors_the_verdict(a, b, images, margin):
    forth, back = samples(a, b, num_images=images), samples(b, a, num_images=images)
    mirror = {"held": "not held", "not held": "held", "undecided": "undecided"}
    claim = Less(**SAID, lower="b", higher="a", margin=margin)
    opposite = Less(**SAID, lower="b", higher="a", margin=-margin)
    verdict, mirrored = judge(claim, forth), judge(opposite, back)
    assert mirrored.outcome == mirror[verdict.outcome]
    assert (mirrored.low, mirrored.high) == pytest.approx((-verdict.high, -verdict.low))
    equal = Equal(**SAID, first="a", second="b", margin=margin)
    assert judge(equal, forth).outcome == judge(equal, back).outcome
    arms = samples(a, b, a, num_images=images)
    assert judge(FALLING, arms).outcome == judge(RISING, arms).outcome


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    a=RATES,
    b=RATES,
    c=RATES,
    images=st.sampled_from([50, 10_000]),
    claim=st.sampled_from([LESS, NO_WORSE, EQUAL, FALLING, TWICE, SMALL, BETWEEN]),
)
def test_more_claims_never_make_an_outcome_more_decided(a, b, c, images, claim):
    arms = samples(a, b, c, num_images=images)
    outcomes = [judge(claim, arms, num_claims=count).outcome for count in (1, 2, 5, 20, 1000)]
    decided = [outcome for outcome in outcomes if outcome != "undecided"]
    assert outcomes == decided + ["undecided"] * (len(outcomes) - len(decided))
    assert len(set(decided)) <= 1


@settings(deadline=None, max_examples=30, derandomize=True)
@given(counts=st.tuples(*[st.integers(0, 60)] * 4).filter(any))
def test_more_claims_never_decide_a_single_seeds_difference(counts):
    arms = {
        name: Sample(values=(100 * own.mean(),), num_images=len(own), wrong=own[None])
        for name, own in (("a", np.repeat([1, 1, 0, 0], counts) > 0), ("b", np.repeat([1, 0, 1, 0], counts) > 0))
    }
    ends = [judge(NO_WORSE, arms, num_claims=count) for count in (1, 3, 30)]
    for fewer, more in pairwise(ends):
        assert more.low <= fewer.low + 1e-9
        assert more.high >= fewer.high - 1e-9
        assert more.outcome in (fewer.outcome, "undecided")
