from dataclasses import replace

import numpy as np
import pytest
import torch

from reslab.errors import RecipeError
from reslab.training.recipe import Cosine, Linear, NoWarmUp, Steps, UntilError, iterations
from reslab.training.recipe_files import load_recipe
from reslab.training.schedule import Plateau, WarmUp, learning_rate


def test_the_rate_at_every_iteration_is_the_papers():
    recipe = load_recipe("cifar-paper")
    rates = [learning_rate(recipe, iteration) for iteration in range(64_000)]
    expected = [0.1] * 32_000 + [0.01] * 16_000 + [0.001] * 16_000
    assert rates == pytest.approx(expected, rel=1e-12)


def test_the_warm_up_has_its_own_rate():
    recipe = load_recipe("cifar-paper")
    assert learning_rate(recipe, 5, warming_up=True) == 0.01
    assert learning_rate(recipe, 5) == 0.1


@pytest.mark.parametrize(("depth", "warms_up"), [(20, False), (56, False), (110, True), (1202, True)])
def test_only_very_deep_nets_warm_up(depth, warms_up):
    assert WarmUp(load_recipe("cifar-paper"), depth).active == warms_up


def test_the_warm_up_can_be_switched_off():
    recipe = load_recipe("cifar-paper")
    off = replace(recipe, schedule=replace(recipe.schedule, deep_warmup=NoWarmUp()))
    assert not WarmUp(off, 110).active


def small(window: int = 3) -> WarmUp:
    recipe = load_recipe("cifar-paper")
    schedule = Steps(deep_warmup=UntilError(window=window))
    recipe = replace(recipe, schedule=schedule, data=replace(recipe.data, batch_size=10))
    return WarmUp(recipe, 110)


def test_the_warm_up_ends_when_the_mean_error_of_the_window_falls_below_80_percent():
    warmup = small()
    for iteration, wrong in enumerate([9, 9, 8, 7]):
        assert warmup.active
        warmup.observe(iteration, wrong)
    # 9 + 9 + 8 and 9 + 8 + 7 of 30: 87 %, then exactly 80 %, which is not below.
    assert warmup.active
    warmup.observe(4, 8)
    assert not warmup.active
    assert warmup.ended_at == 5


def test_one_lucky_batch_does_not_end_the_warm_up():
    warmup = small(window=50)
    warmup.observe(0, 0)
    assert warmup.active


def test_the_warm_up_resumes_where_it_was():
    straight, broken = small(), small()
    wrongs = [9, 9, 8, 8, 7, 9]
    for iteration, wrong in enumerate(wrongs):
        if straight.active:
            straight.observe(iteration, wrong)
    for iteration, wrong in enumerate(wrongs):
        resumed = small()
        resumed.load_state_dict(broken.state_dict())
        broken = resumed
        if broken.active:
            broken.observe(iteration, wrong)
    assert broken.state_dict() == straight.state_dict()
    assert not broken.active


@pytest.mark.parametrize("form", [Linear, Cosine])
def test_rates_that_fall_to_zero_are_torchs(form):
    """Against torch's schedulers: a linear rise, then the fall."""
    base = load_recipe("cifar-paper")
    recipe = replace(base, schedule=form(length=iterations(200), warmup=iterations(40)))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedulers = torch.optim.lr_scheduler
    fall = (
        schedulers.LinearLR(optimizer, 1.0, 0.0, total_iters=160)
        if form is Linear
        else schedulers.CosineAnnealingLR(optimizer, T_max=160)
    )
    theirs = []
    for _ in range(160):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        fall.step()
    ours = [learning_rate(recipe, iteration) for iteration in range(200)]
    assert ours[:40] == pytest.approx([0.1 * (iteration + 1) / 40 for iteration in range(40)])
    assert ours[40:] == pytest.approx(theirs)


def test_the_warm_up_keeps_its_share_of_a_rescaled_schedule():
    base = load_recipe("cifar-paper")
    recipe = replace(base, schedule=replace(base.schedule, warmup=iterations(6_400))).rescaled(1_000)
    assert recipe.schedule.warmup == iterations(100)
    with pytest.raises(RecipeError, match=r"must end before schedule\.length"):
        replace(base.schedule, warmup=iterations(64_000))


def plateau(**fields: float) -> Plateau:
    recipe = load_recipe("imagenet-paper")
    return Plateau(replace(recipe, schedule=replace(recipe.schedule, **fields)))


def test_the_rate_falls_on_a_plateau_as_torchs_does():
    errors = np.round(np.random.default_rng(0).uniform(20, 30, 300) + 40 * 0.97 ** np.arange(300), 2)
    ours = plateau(evaluations=4, threshold=0.5, drops=50)
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs, factor=0.1, patience=3, threshold=0.5, threshold_mode="abs", eps=0
    )
    for error in errors:
        ours.observe(error)
        scheduler.step(error)
        assert learning_rate(ours.recipe, 1, drops=ours.drops) == pytest.approx(theirs.param_groups[0]["lr"])
    assert ours.drops > 3


def test_the_rate_falls_no_more_often_than_the_recipe_says_and_resumes():
    straight, broken = (plateau(evaluations=2, drops=2) for _ in range(2))
    for number in range(12):
        straight.observe(50.0)
        again = plateau(evaluations=2, drops=2)
        again.load_state_dict(broken.state_dict())
        broken = again
        broken.observe(50.0)
        assert broken.state_dict() == straight.state_dict()
        assert straight.drops == min(2, number // 2)
