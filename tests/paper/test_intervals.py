"""Intervals against scipy's tests, closed forms, published examples, and simulated experiments."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from reslab.errors import ReslabError
from reslab.paper.intervals import (
    CannotTellError,
    difference_interval,
    mean_interval,
    paired_interval,
    ratio_interval,
)
from reslab.paper.samples import Sample

A, B = (8.75, 8.61, 9.02, 8.8), (7.51, 7.2, 8.11)


def of_images(wrong: np.ndarray) -> Sample:
    """The sample of networks of which it is known which images they got wrong."""
    return Sample(values=tuple(100 * wrong.mean(axis=1)), num_images=wrong.shape[1], wrong=wrong)


def table(both: int, first: int, second: int, neither: int) -> tuple[Sample, Sample]:
    """Two networks, by how many images both, either one alone, and neither got wrong."""
    counts = (both, first, second, neither)
    return (
        of_images(np.repeat([True, True, False, False], counts)[None]),
        of_images(np.repeat([True, False, True, False], counts)[None]),
    )


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_without_images_the_difference_is_welchs(level):
    found = difference_interval(Sample(values=A), Sample(values=B), level)
    known = stats.ttest_ind(A, B, equal_var=False).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), rel=1e-9)
    assert found.estimate == pytest.approx(np.mean(A) - np.mean(B))
    assert found.basis == "4 and 3 seeds, Student's t"


def test_without_images_a_mean_is_students():
    found = mean_interval(Sample(values=A), 0.95)
    known = stats.ttest_1samp(A, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), rel=1e-9)


def test_against_a_computed_value_it_is_students_of_one_sample():
    found = difference_interval(Sample(values=A), Sample(values=(9.0,), exact=True), 0.95)
    known = stats.ttest_1samp(A, 9.0).confidence_interval(0.95)
    assert (found.low + 9, found.high + 9) == pytest.approx((known.low, known.high), rel=1e-9)
    assert found.basis == "4 seeds, Student's t"


def test_the_variance_is_the_seeds_and_the_images():
    """By hand, with Agresti and Coull's two errors in four images, and Satterthwaite's degrees of freedom."""
    found = difference_interval(Sample(values=A, num_images=10_000), Sample(values=B, num_images=5_000), 0.95)
    parts = (np.var(A, ddof=1) / 4, np.var(B, ddof=1) / 3)
    images = 0.0
    for values, count in ((A, 10_000), (B, 5_000)):
        share = (np.mean(values) / 100 * count + 2) / (count + 4)
        images += 100**2 * share * (1 - share) / (count + 4)
    total = sum(parts) + images
    freedom = total**2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 2)
    assert found.high - found.estimate == pytest.approx(stats.t(freedom).ppf(0.975) * sqrt(total))
    assert found.basis == "4 and 3 seeds, Student's t, on 5,000 and 10,000 images"


def test_on_the_same_images_their_part_is_that_of_the_differences(rng):
    wrong = [rng.random((count, 2000)) < 0.1 for count in (3, 2)]
    found = difference_interval(of_images(wrong[0]), of_images(wrong[1]), 0.95)
    differences = 100 * (wrong[0].mean(axis=0) - wrong[1].mean(axis=0))
    spread = [np.var(100 * one.mean(axis=1), ddof=1) / len(one) for one in wrong]
    # One made-up image of each outcome: two differ by a whole error.
    images = (np.var(np.append(differences, [0, 0, 100, -100]))) / 2004
    total = sum(spread) + images
    freedom = total**2 / (spread[0] ** 2 / 2 + spread[1] ** 2)
    assert found.high - found.estimate == pytest.approx(stats.t(freedom).ppf(0.975) * sqrt(total))
    assert found.basis == "3 and 2 seeds, Student's t, on the same 2,000 images"


def test_a_single_seed_is_given_the_others_spread():
    found = difference_interval(Sample(values=(9.0,), num_images=10**9), Sample(values=B, num_images=10**9), 0.95)
    expected = stats.t(2).ppf(0.975) * sqrt(np.var(B, ddof=1) * (1 + 1 / 3))
    assert found.high - found.estimate == pytest.approx(expected, rel=1e-4)
    assert found.basis == "1 and 3 seeds, Student's t with one spread for both, on 1,000,000,000 images"


def test_no_error_is_no_certain_0_percent():
    none = Sample(values=(0.0, 0.0, 0.0), num_images=1000)
    assert mean_interval(none, 0.95).low == 0
    assert 0.2 < mean_interval(none, 0.95).high < 0.4  # of three errors in 1,000
    assert mean_interval(Sample(values=(100.0,) * 2, num_images=1000), 0.95).high == 100
    assert difference_interval(none, none, 0.95).high > 0.1
    right = of_images(np.zeros((2, 1000), dtype=bool))
    assert difference_interval(right, right, 0.95).high == pytest.approx(0.28, abs=0.01)  # 1.96 sqrt(2) / 1004


def test_one_seeds_error_rate_has_the_exact_interval_of_clopper_and_pearson():
    """0 of 10 errors: 0 to 1 - 0.025^(1/10), and the closed form by the beta distribution for 3 of 10."""
    found = mean_interval(Sample(values=(0.0,), num_images=10), 0.95)
    assert (found.low, found.high) == pytest.approx((0, 100 * (1 - 0.025**0.1)))
    found = mean_interval(Sample(values=(30.0,), num_images=10), 0.95)
    ends = (stats.beta(3, 8).ppf(0.025), stats.beta(4, 7).ppf(0.975))
    assert (found.low / 100, found.high / 100) == pytest.approx(ends)
    assert found.basis == "1 seed: sampling of images alone"
    between = mean_interval(Sample(values=(35.0,), num_images=10), 0.95)
    assert (between.low, between.high) == pytest.approx((found.low, 100 * stats.beta(5, 6).ppf(0.975)))


def test_mcnemars_published_example():
    """Agresti (2013), Categorical Data Analysis, Sec. 11.1: 1,600 voters were asked twice whether they approve; 944 and
    880 did, 150 and 86 changed. The difference is 4 %, with a Wald interval of 2.1 to 5.9 %."""
    found = difference_interval(*table(794, 150, 86, 570), 0.95)
    assert found.estimate == pytest.approx(4.0)
    assert (found.low, found.high) == pytest.approx((2.1, 5.9), abs=0.1)
    assert found.basis == "1 seed: McNemar's test on the same 1,600 images"


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (5, 0), (6, 0), (9, 2), (10, 2), (15, 5), (17, 5), (2, 10), (0, 6), (400, 350)]
)
def test_the_interval_excludes_0_exactly_where_mcnemars_exact_test_rejects(first, second):
    found = difference_interval(*table(20, first, second, 1000), 0.95)
    p_value = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert (found.low > 0 or found.high < 0) == (p_value < 0.05)
    assert found.low <= found.estimate <= found.high
    mirrored = difference_interval(*table(20, second, first, 1000), 0.95)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_fiellers_interval_is_the_closed_form_and_holds_the_ratios_that_are_not_rejected():
    over, under = Sample(values=A), Sample(values=B)
    found = ratio_interval(over, under, 0.95)
    assert found.estimate == pytest.approx(np.mean(A) / np.mean(B))
    variance = [np.var(values, ddof=1) / len(values) for values in (A, B)]
    parts = (variance[0], found.estimate**2 * variance[1])
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 2)
    t = stats.t(freedom).ppf(0.975)
    for end in (found.low, found.high):
        distance = abs(np.mean(A) - end * np.mean(B))
        assert distance == pytest.approx(t * sqrt(variance[0] + end**2 * variance[1]))
    # With a denominator that is hardly uncertain it is the interval by the logarithm's derivative.
    sure = ratio_interval(over, Sample(values=(7.6, 7.6001, 7.5999)), 0.95)
    known = stats.ttest_1samp(A, 0).confidence_interval(0.95)
    assert (sure.low, sure.high) == pytest.approx((known.low / 7.6, known.high / 7.6), rel=1e-4)


def test_the_bootstrap_agrees_with_the_analytic_interval(rng):
    hard = rng.random(3000) < 0.2
    first, second = (of_images((rng.random((2, 3000)) < share) & hard) for share in (0.5, 0.4))
    found = paired_interval(first, second, level=0.9)
    differences = 100 * (first.wrong.mean(axis=0) - second.wrong.mean(axis=0))
    half = 1.6449 * differences.std() / sqrt(3000)
    assert found.estimate == pytest.approx(first.mean - second.mean)
    assert (found.low, found.high) == pytest.approx((found.estimate - half, found.estimate + half), abs=0.1 * half)
    assert paired_interval(first, second, level=0.9) == found  # with a fixed seed
    single = [of_images(sample.wrong[:1]) for sample in (first, second)]
    analytic, drawn = difference_interval(*single, 0.95), paired_interval(*single)
    assert (drawn.low, drawn.high) == pytest.approx((analytic.low, analytic.high), abs=0.1)


@pytest.mark.parametrize("num_seeds", [(1, 1), (1, 3), (2, 2), (3, 4)])
def test_true_differences_lie_outside_as_rarely_as_the_level_says(rng, num_seeds):
    """Two arms of the same error on images of the world, tested on the same few: image and seed are both by chance."""
    outside = {"paired": [], "unpaired": []}
    num_experiments = 150 if max(num_seeds) == 1 else 400
    for _ in range(num_experiments):
        difficulty = rng.beta(0.2, 1.6, 500)
        samples = []
        for count in num_seeds:
            own = np.where(rng.random(500) < 0.6, difficulty, rng.permutation(difficulty))
            shift = rng.normal(1, 0.0 if max(num_seeds) == 1 else 0.08, (count, 1))
            samples.append(of_images(rng.random((count, 500)) < own * shift))
        bare = [Sample(values=sample.values, num_images=500) for sample in samples]
        for name, pair in (("paired", samples), ("unpaired", bare)):
            found = difference_interval(*pair, 0.9)
            outside[name].append((found.low > 0, found.high < 0))
    # 5 % on each side, and 2.6 standard errors.
    most = 0.05 + 2.6 * sqrt(0.05 * 0.95 / num_experiments)
    for sides in outside.values():
        assert max(np.mean(sides, axis=0)) < most


def test_mcnemars_interval_covers_differences_other_than_0(rng):
    counts = rng.multinomial(1000, (0.05, 0.12, 0.04, 0.79), 100)
    found = [difference_interval(*table(*row), 0.9) for row in counts]
    outside = np.mean([not interval.low <= 8 <= interval.high for interval in found])
    assert 0.02 <= outside < 0.1 + 2.6 * sqrt(0.09 / 100)


def test_where_there_is_no_interval_it_says_why():
    with pytest.raises(CannotTellError, match="1 seed, and no estimate of its spread"):
        mean_interval(Sample(values=(3.0,)), 0.95)
    with pytest.raises(CannotTellError, match="1 seed, and no estimate of its spread"):
        difference_interval(Sample(values=(3.0,)), Sample(values=A), 0.95)
    with pytest.raises(CannotTellError, match="the seeds do not differ at all"):
        difference_interval(Sample(values=(0.1,) * 3), Sample(values=(0.3,) * 3), 0.95)
    with pytest.raises(CannotTellError, match="is 0"):
        ratio_interval(Sample(values=A), Sample(values=(0.0,), exact=True), 0.95)
    with pytest.raises(CannotTellError, match="cannot be told from 0"):
        ratio_interval(Sample(values=A), Sample(values=(-1.0, 1.5)), 0.95)


def test_samples_of_different_images_are_not_compared_image_by_image():
    with pytest.raises(ReslabError, match="the same images, not on 30 and 40"):
        difference_interval(of_images(np.zeros((1, 30), dtype=bool)), of_images(np.zeros((1, 40), dtype=bool)), 0.95)
    with pytest.raises(ReslabError, match="give `wrong` of both"):
        paired_interval(Sample(values=(3.0,), num_images=100), of_images(np.zeros((1, 100), dtype=bool)))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"values": ()}, "needs a value"),
        ({"values": "12"}, "must be numbers"),
        ({"values": 3.0}, "must be numbers"),
        ({"values": (1, 2), "exact": True}, "give one value, not 2"),
        ({"values": (101,), "num_images": 10}, "from 0 to 100 %, and 101 does not"),
        ({"values": (1,), "num_images": 10.5}, "num_images must be a whole number"),
        ({"values": (1,), "wrong": np.zeros((1, 5), dtype=bool)}, "must give num_images"),
        ({"values": (0, 0), "num_images": 5, "wrong": np.zeros((1, 5), dtype=bool)}, r"here \(2, 5\), not bool"),
        ({"values": (0,), "num_images": 5, "wrong": np.zeros((1, 5))}, "not float64"),
        ({"values": (40,), "num_images": 5, "wrong": np.ones((1, 5), dtype=bool)}, "of different tests"),
    ],
)
def test_a_sample_that_contradicts_itself_gets_a_sentence(fields, said):
    with pytest.raises(ReslabError, match=said):
        Sample(**fields)
