"""Budgets: how long a plan takes, how many iterations a time allows, and that real trainings end in time."""

import os
import re
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reslab.errors import ReslabError
from reslab.paper import runner
from reslab.paper.budget import LEAST_USEFUL, fit_iterations, makespan, plan_seconds
from reslab.paper.catalogue import Measure
from reslab.paper.choices import Choices, format_time, parse_time
from reslab.paper.deviations import reduction
from reslab.paper.experiments import EXPERIMENTS
from reslab.paper.experiments.common import ERRORS
from reslab.paper.plan import read_plan
from reslab.paper.planning import Planner
from reslab.paper.rates import Rate, keep_rate, kept_rate, kept_rates
from reslab.paper.run import run_experiment

durations = st.lists(st.floats(0.01, 100), min_size=1, max_size=12)


def by_the_second(seconds, slots):
    """Whole seconds, counted one by one: each job starts as soon as a place is free, in order."""
    waiting, running, now = list(seconds), [], 0
    while waiting or running:
        while waiting and len(running) < slots:
            running.append(waiting.pop(0))
        now += 1
        running = [left - 1 for left in running if left > 1]
    return now


@given(st.lists(st.integers(1, 20), min_size=1, max_size=10), st.integers(1, 5))
def test_jobs_side_by_side_take_as_long_as_counted_second_by_second(seconds, slots):
    assert makespan(seconds, slots) == by_the_second(seconds, slots)


@given(durations, st.integers(1, 6))
def test_jobs_side_by_side_take_no_less_than_the_longest_and_no_more_than_one_after_another(seconds, slots):
    found = makespan(seconds, slots)
    assert max(max(seconds), sum(seconds) / slots) <= found + 1e-9
    assert found <= sum(seconds) / slots + max(seconds) + 1e-9
    assert makespan(seconds, 1) == pytest.approx(sum(seconds))
    assert makespan(seconds, len(seconds)) == max(seconds)


RATES = {
    "plain8": Rate(iteration_seconds=0.010, image_seconds=0.0002, start_seconds=4.0),
    "resnet8": Rate(iteration_seconds=0.014, image_seconds=0.0003, start_seconds=4.5),
}


@pytest.fixture
def planner(tiny, tmp_path):
    return Planner(tiny, Choices(seeds=2), folder=tmp_path, store=tmp_path / "runs")


def test_a_plan_takes_its_iterations_its_evaluations_and_its_starts(planner):
    """Counted by hand: 21 evaluations of 360 test images, one of 1,257 training images, one pass for predictions."""
    plan = planner.plan(1_000)
    evaluated = 20 * 360 + 360 + 1_257 + 360
    measures = 2 * 1.0
    plain = 4.0 + 1_000 * 0.010 + evaluated * 0.0002 + measures
    residual = 4.5 + 1_000 * 0.014 + evaluated * 0.0003 + measures
    assert plan_seconds(plan, RATES, 1) == pytest.approx(2 * (plain + residual))
    assert plan_seconds(plan, RATES, 4) == pytest.approx(residual)
    assert plan_seconds(plan, RATES, 2) == pytest.approx(makespan([plain, residual, plain, residual], 2))


def test_longer_plans_take_longer(planner):
    seconds = [plan_seconds(planner.plan(count), RATES, 2) for count in (20, 100, 1_000, 10_000)]
    assert seconds == sorted(seconds)
    assert plan_seconds(planner.plan(1_000), RATES, 1) > plan_seconds(planner.plan(1_000), RATES, 2)


def test_measures_that_look_at_many_images_take_longer(tiny, tmp_path):
    def seconds(*measures):
        experiment = replace(tiny, measures=measures)
        return plan_seconds(Planner(experiment, Choices(), folder=tmp_path, store=tmp_path).plan(500), RATES, 1)

    crops = Measure(name="protocol", options={"protocol": "crops"})
    assert seconds(ERRORS) < seconds(ERRORS, Measure(name="responses")) < seconds(ERRORS, crops)


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("budget", [60.0, 90.0, 240.0, 3_600.0])
def test_iterations_are_fitted_to_the_budget(planner, budget, slots):
    most = 20_000

    def seconds(count):
        return plan_seconds(planner.plan(count), RATES, slots)

    found = fit_iterations(planner.plan, RATES, slots, budget, most)
    assert LEAST_USEFUL <= found <= most
    assert seconds(found) <= budget
    if found < most:
        assert seconds(found + 2 + found // 100) > 0.94 * budget
    assert {job.subject.iterations for job in planner.plan(found).jobs} == {found}


def test_a_larger_budget_gives_no_fewer_iterations(planner):
    found = [fit_iterations(planner.plan, RATES, 2, budget, 5_000) for budget in (40, 50, 60, 80, 100, 200, 400)]
    assert found == sorted(found)
    assert found[-1] == 5_000
    assert len(set(found)) > 4


@pytest.mark.parametrize("most", [30, 20_000])
def test_a_budget_that_is_too_small_is_refused_with_the_least_one(planner, most):
    with pytest.raises(ReslabError, match="--budget 5s gives an arm fewer than") as refusal:
        fit_iterations(planner.plan, RATES, 2, 5.0, most)
    least = re.search(r"the least useful budget here is (\S+?)\. ", str(refusal.value))[1]
    found = fit_iterations(planner.plan, RATES, 2, parse_time(least), most)
    assert found >= min(most, LEAST_USEFUL)
    with pytest.raises(ReslabError, match="gives an arm fewer than"):
        fit_iterations(planner.plan, RATES, 2, parse_time(least) * 0.9 - 1, most)


def test_a_plan_of_fewer_seeds_is_kept(tiny, made_up, tmp_path, monkeypatch, capsys):
    """Its trainings are stopped at once; the same command has the same plan, and more seeds can be asked for."""
    made_up(replace(tiny, name="seeds", iterations=20_000, seeds=4))
    monkeypatch.setattr(runner, "measured_rates", lambda *_: (RATES, None))
    monkeypatch.setattr(runner, "run_jobs", lambda *_: "SIGTERM")

    def jobs(**settings):
        chosen = {"budget": "40s", "out": tmp_path / "few", "jobs": 2, "progress": False}
        assert run_experiment("seeds", **{**chosen, **settings}).stopped_by == "SIGTERM"
        return [job.key for job in read_plan(tmp_path / "few").jobs]

    first = jobs()
    assert read_plan(tmp_path / "few").budget == 40
    assert "--budget 40s has time for --seeds 2 (usually 4)." in capsys.readouterr().err
    assert len(first) == 4
    assert jobs() == first
    assert jobs(seeds=3)[:4] == first
    assert len(jobs()) == 6


def test_measuring_speeds_is_a_part_of_the_budget(tiny, made_up, tmp_path, monkeypatch):
    """Unless what is left of it is too little; then they are known, and the same budget is enough the next time."""
    made_up(replace(tiny, name="spent", iterations=20_000))
    monkeypatch.setattr(runner, "run_jobs", lambda *_: "SIGTERM")
    clock = iter(range(0, 100_000, 10))  # and as much for the report
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    monkeypatch.setattr(runner, "measured_rates", lambda *_: (RATES, None))

    def iterations(budget):
        run_experiment("spent", budget=budget, out=tmp_path / budget, jobs=2, progress=False)
        return read_plan(tmp_path / budget).iterations

    assert iterations("60s") == fitted(tiny, tmp_path, 40.0)
    assert iterations("25s") == fitted(tiny, tmp_path, 25.0)


def fitted(tiny, tmp_path, seconds):
    planner = Planner(tiny, Choices(), folder=tmp_path, store=tmp_path / "runs")
    return fit_iterations(planner.plan, RATES, 2, seconds, 20_000)


def test_many_views_are_of_fewer_images_where_all_would_take_too_long(tiny, made_up, tmp_path, monkeypatch, capsys):
    crops = Measure(name="protocol", options={"protocol": "crops"})
    made_up(replace(tiny, name="views", iterations=20_000, measures=(ERRORS, crops)))
    slow = {arm: replace(rate, image_seconds=0.004) for arm, rate in RATES.items()}
    monkeypatch.setattr(runner, "measured_rates", lambda *_: (slow, None))
    monkeypatch.setattr(runner, "_PROTOCOL_IMAGES", 50)
    monkeypatch.setattr(runner, "run_jobs", lambda *_: "SIGTERM")

    def plan(budget):
        settings = {"budget": budget, "out": tmp_path / budget, "jobs": 2, "progress": False}
        assert run_experiment("views", **settings).stopped_by == "SIGTERM"
        return read_plan(tmp_path / budget)

    assert [dict(job.measures[1].options) for job in plan("90s").jobs] == [{"protocol": "crops"}] * 2
    assert "has time for" not in capsys.readouterr().err
    short = plan("55s")
    assert [dict(job.measures[1].options) for job in short.jobs] == [{"protocol": "crops", "images": 50}] * 2
    assert "--budget 55s has time for 50 test images of many views each." in capsys.readouterr().err
    assert "many views of 50 of 360 test images" in reduction(EXPERIMENTS["fig1"], short)
    assert short.jobs[0].key not in [job.key for job in plan("90s").jobs]
    assert [job.key for job in plan("55s").jobs] == [job.key for job in short.jobs]


def test_arms_of_other_lengths_keep_their_ratio(tmp_path):
    planner = Planner(EXPERIMENTS["longer"], Choices(), folder=tmp_path, store=tmp_path)
    rates = {arm.name: RATES["plain8"] for arm in EXPERIMENTS["longer"].arms}
    found = fit_iterations(planner.plan, rates, 2, 120.0, 50_000)
    lengths = {job.arm: job.subject.iterations for job in planner.plan(found).jobs}
    assert lengths == {"plain20": found, "plain56": found, "plain20, 3x": 3 * found, "plain56, 3x": 3 * found}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("1.5d", 129_600), (" 0.5 h ", 1_800)]
)
def test_times_are_read(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "m", "-5m", "0s", "0.0h", "1e3s", "nan", "10 minutes", "1h30m", "inf"])
def test_what_is_no_time_gets_a_sentence(text):
    with pytest.raises(ReslabError, match="write a time, as in 90s, 30m or 2h"):
        parse_time(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1s"), (59.1, "60s"), (119.9, "120s"), (120, "2m"), (121, "3m"), (7_199, "120m"), (9_000, "2.5h")],
)
def test_times_are_written(seconds, text):
    assert format_time(seconds) == text


@given(st.floats(0.5, 1e6))
def test_a_time_that_was_written_is_read_as_about_the_same(seconds):
    found = parse_time(format_time(seconds))
    assert seconds * 0.97 <= found <= seconds + max(60, 0.03 * seconds)


def test_speeds_are_kept_for_the_next_time(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rate = replace(RATES["plain8"], net="plain20", image="32x32x3", batch_size=128)
    slower = replace(rate, iteration_seconds=1.0)
    assert kept_rate("0" * 64) is None
    keep_rate("0" * 64, rate)
    keep_rate("1" * 64, slower)
    assert kept_rate("0" * 64) == rate
    assert kept_rates() == [slower, rate]
    (tmp_path / "reslab" / "rates" / f"{'0' * 32}.json").write_text("{")
    assert kept_rate("0" * 64) is None
    assert kept_rates() == [slower]


def test_a_cache_that_cannot_be_written_is_no_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_rate("0" * 64, RATES["plain8"])
    assert kept_rate("0" * 64) is None


def is_idle() -> bool:
    """Whether nearly nothing else ran here in the last minute."""
    return os.getloadavg()[0] < 0.3 * (os.cpu_count() or 1)


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_an_experiment_ends_within_its_budget(tiny, made_up, tmp_path, monkeypatch):
    """Within a fifth of it on an idle machine, speeds measured anew. Where others use the cores, they may take them
    once the speeds are known, or give them back: then the budget is larger, and it is only held to three times it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made_up(replace(tiny, name="long", iterations=100_000))
    idle = is_idle()
    budget = 60 if idle else 180
    settings = {"budget": f"{budget}s", "out": tmp_path / "long", "jobs": 2, "threads": 1, "progress": False}
    started = time.monotonic()
    done = run_experiment("long", **settings)
    took = time.monotonic() - started
    lengths = {row["iterations"] for row in done.record.all_rows}
    print(f"{took:.0f} s for {lengths} iterations, on a machine that was {'idle' if idle else 'busy'}")
    assert len(lengths) == 1
    assert LEAST_USEFUL <= min(lengths) < 100_000
    assert done.record.content["budget"] == budget
    if idle:
        assert 48 <= took <= 72
    assert took <= 3 * budget
    again = run_experiment("long", **settings)
    assert again.record.content == done.record.content
    with pytest.raises(ReslabError, match="holds other settings"):
        run_experiment("long", **{**settings, "budget": "90s"})
