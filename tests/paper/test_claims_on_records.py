"""Every claim of the catalogue can come true and false, and be left open by what is measured."""

from typing import Any

import numpy as np
import pytest

from reslab.paper.catalogue import Experiment
from reslab.paper.claims import Bound, Claim, Equal, Less, Ratio, Trend
from reslab.paper.experiments import EXPERIMENTS
from reslab.paper.packing import packed

NUM_IMAGES = 10_000
RATES = (
    "test_error",
    "train_error",
    "crops_top1",
    "dense_top1",
    "error_at_depth",
    "changed_answers",
    "differing_outputs",
)  # %, counted over images
CLAIMS = [(name, number) for name, own in EXPERIMENTS.items() for number in range(len(own.claims))]
IDS = [f"{name}-{number}" for name, number in CLAIMS]
COMPUTED = [pair for pair in CLAIMS if EXPERIMENTS[pair[0]].how == "computed"]
each = pytest.mark.parametrize(("name", "number"), CLAIMS, ids=IDS)

Centers = dict[str, float]


def held_and_not(claim: Claim) -> tuple[Centers, Centers]:
    """Each arm's true value where a claim holds clearly, and where it clearly does not."""
    match claim:
        case Less(lower=low, higher=high, margin=margin):
            step = 10 + 2 * abs(margin)
            return {low: 20, high: 20 + margin + step}, {low: 20 + step, high: 20 + margin}
        case Equal(first=first, second=second, margin=margin):
            return {first: 20, second: 20}, {first: 20, second: 20 + 5 * margin + 10}
        case Trend(arms=arms, rising=rising):
            up = {arm: 10.0 + 10 * place for place, arm in enumerate(arms)}
            down = {arm: 60.0 - 10 * place for place, arm in enumerate(arms)}
            return (up, down) if rising else (down, up)
        case Ratio(over=over, under=under, least=least, most=most):
            inside = _inside(least, most)
            return {over: 7 * inside, under: 7.0}, {over: 7 * _outside(least, most), under: 7.0}
        case Bound(arm=arm, least=least, most=most):
            return {arm: _inside(least, most)}, {arm: _outside(least, most)}
    raise AssertionError(claim)


def _inside(least: float | None, most: float | None) -> float:
    if least is None:
        return most / 3
    return 1.3 * least if most is None else (least + most) / 2


def _outside(least: float | None, most: float | None) -> float:
    return 20 * most + 1 if most is not None else least / 3


def measured(experiment: Experiment, claim: Claim, centers: Centers, seeds: int, spread: float) -> dict[str, Any]:
    """Values by arm, and which images were wrong, as `record_of` takes them: seeds lie around the true value."""
    values, series = {}, []
    offsets = [0.0] if seeds == 1 else np.linspace(-spread, spread, seeds)
    for arm, center in centers.items():
        own = [float(center + offset) for offset in offsets]
        if claim.value in RATES:
            counts = [round(NUM_IMAGES * min(max(value, 0), 100) / 100) for value in own]
            own = [100 * count / NUM_IMAGES for count in counts]
            if claim.value == "test_error":
                series += [
                    {"arm": arm, "seed": seed, "measure": "predictions", "num_images": NUM_IMAGES}
                    | {"wrong": packed(np.random.default_rng(seed).permutation(NUM_IMAGES) < count)}
                    for seed, count in enumerate(counts)
                ]
        values[arm] = {claim.value: own}
    counts = {claim.value: NUM_IMAGES} if claim.value in RATES else {}
    return {"experiment": experiment, "values": values, "counts": counts, "series": series}


def outcome_of(record, claim: Claim) -> dict[str, Any]:
    (verdict,) = [item for item in record.content["verdicts"] if item["claim"] == claim.text]
    return verdict


def tight(claim: Claim, centers: Centers) -> float:
    """A spread among seeds that is small beside what a claim is about."""
    return 0.001 * min(abs(center) for center in centers.values()) if claim.value not in RATES else 0.05


@each
def test_it_can_hold_and_fail(name, number, record_of):
    experiment = EXPERIMENTS[name]
    claim = experiment.claims[number]
    seeds = 1 if experiment.how == "computed" else 5
    for centers, outcome in zip(held_and_not(claim), ("held", "not held"), strict=True):
        record = record_of(**measured(experiment, claim, centers, seeds, tight(claim, centers)))
        verdict = outcome_of(record, claim)
        assert verdict["outcome"] == outcome, verdict
        assert verdict["source"] == claim.source
        assert verdict["value"] == claim.value
        assert all(arm in verdict["explanation"] for arm in centers)


@pytest.mark.parametrize(
    ("name", "number"),
    [pair for pair in CLAIMS if pair not in COMPUTED],
    ids=[i for i, p in zip(IDS, CLAIMS, strict=True) if p not in COMPUTED],
)
def test_it_can_be_undecided(name, number, record_of):
    """Where seeds differ by more than the arms do, and where a training came to no number."""
    experiment = EXPERIMENTS[name]
    claim = experiment.claims[number]
    centers, _ = held_and_not(claim)
    wild = measured(experiment, claim, dict.fromkeys(centers, 30.0), 2, 25.0)
    if isinstance(claim, Bound) and claim.value not in RATES:
        limit = claim.least if claim.least is not None else claim.most
        wild = measured(experiment, claim, {claim.arm: limit}, 2, abs(limit))
    elif isinstance(claim, Bound):
        limit = claim.least if claim.least is not None else claim.most
        wild = measured(experiment, claim, {claim.arm: limit}, 2, min(limit, 5.0))
    assert outcome_of(record_of(**wild), claim)["outcome"] == "undecided"
    broken = measured(experiment, claim, centers, 3, tight(claim, centers))
    broken["values"][next(iter(centers))][claim.value][1] = None
    broken["series"] = []
    verdict = outcome_of(record_of(**broken), claim)
    assert (verdict["outcome"], verdict["low"]) == ("undecided", None)
    assert "not a finite number" in verdict["basis"]


@pytest.mark.parametrize(("name", "number"), COMPUTED, ids=[f"{name}-{number}" for name, number in COMPUTED])
def test_computed_claims_have_no_interval(name, number, record_of):
    experiment = EXPERIMENTS[name]
    claim = experiment.claims[number]
    centers, _ = held_and_not(claim)
    verdict = outcome_of(record_of(**measured(experiment, claim, centers, 1, 0.0)), claim)
    assert verdict["low"] == verdict["high"] == verdict["estimate"]
    assert "computed" in verdict["basis"]


def test_claims_about_what_was_not_measured_are_left_out(record_of):
    experiment = EXPERIMENTS["fig1"]
    both = {"plain20": {"train_error": [10.0]}, "plain56": {"train_error": [50.0]}}
    record = record_of(experiment, both, counts={"train_error": 1_000})
    assert [item["claim"] for item in record.content["verdicts"]] == [experiment.claims[0].text]
    assert record_of(experiment, {"plain20": both["plain20"]}).content["verdicts"] == []


def test_claims_that_are_judged_together_share_the_risk(record_of):
    """Bonferroni: the more of the claims a record can judge, the surer each verdict must be."""
    experiment = EXPERIMENTS["fig1"]
    one = {"plain20": {"train_error": [10.0]}, "plain56": {"train_error": [50.0]}}
    more = {**one, "resnet20": {"train_error": [9.0]}, "resnet56": {"train_error": [8.0]}}
    levels = [
        record_of(experiment, values, counts={"train_error": 1_000}).content["verdicts"][0]["level"]
        for values in (one, more)
    ]
    assert levels == pytest.approx([0.95, 1 - 0.05 / 3])


def test_images_that_are_hard_for_both_nets_count_for_neither(record_of):
    """The same errors on the same images: a difference of 20 images in 10,000 is sure in pairs, and not otherwise."""
    experiment = EXPERIMENTS["fig1"]
    claim = experiment.claims[1]
    easy, hard = np.zeros(NUM_IMAGES, bool), np.zeros(NUM_IMAGES, bool)
    easy[:3_000] = hard[:3_000] = True
    hard[3_000:3_040] = True
    values = {"plain20": {"test_error": [30.0]}, "plain56": {"test_error": [30.4]}}
    series = [
        {"arm": arm, "seed": 0, "measure": "predictions", "num_images": NUM_IMAGES, "wrong": packed(wrong)}
        for arm, wrong in (("plain20", easy), ("plain56", hard))
    ]
    counts = {"test_error": NUM_IMAGES}
    assert outcome_of(record_of(experiment, values, counts=counts, series=series), claim)["outcome"] == "held"
    assert outcome_of(record_of(experiment, values, counts=counts), claim)["outcome"] == "undecided"


def test_an_image_that_another_device_tells_otherwise_does_no_harm(record_of):
    """A training's own test error is of the device that it ran on; which images are wrong is found out afterwards."""
    experiment = EXPERIMENTS["fig1"]
    claim = experiment.claims[1]
    wrong = {arm: np.arange(NUM_IMAGES) < count for arm, count in (("plain20", 1_000), ("plain56", 3_000))}
    series = [
        {"arm": arm, "seed": 0, "measure": "predictions", "num_images": NUM_IMAGES, "wrong": packed(own)}
        for arm, own in wrong.items()
    ]
    values = {"plain20": {"test_error": [10.01]}, "plain56": {"test_error": [29.98]}}
    record = record_of(experiment, values, counts={"test_error": NUM_IMAGES}, series=series)
    verdict = outcome_of(record, claim)
    assert (verdict["outcome"], verdict["estimate"]) == ("held", pytest.approx(20.0))
    assert record.values("plain20", "test_error") == [10.01]


def test_images_of_some_seeds_alone_are_left_out(record_of):
    experiment = EXPERIMENTS["fig1"]
    series = [
        {"arm": "plain20", "seed": 0, "measure": "predictions", "num_images": 4, "wrong": packed(np.zeros(4, bool))}
    ]
    record = record_of(experiment, {"plain20": {"test_error": [0.0, 25.0]}}, counts={"test_error": 4}, series=series)
    assert record.sample("plain20", "test_error").wrong is None


def test_what_is_exactly_the_same_in_all_seeds_can_be_decided(record_of):
    """The constructed net's outputs, of which none may differ: shares of images say how sure that is."""
    experiment = EXPERIMENTS["construction"]
    values = {"plain20": {"differing_outputs": [0.0] * 3, "changed_answers": [0.0] * 3}}
    counts = {"differing_outputs": 1_257, "changed_answers": 1_257}
    verdicts = record_of(experiment, values, counts=counts).content["verdicts"]
    assert [item["outcome"] for item in verdicts] == ["held", "held"]
    assert all(0 < item["high"] < 0.5 for item in verdicts)
