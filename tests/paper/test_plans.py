"""Plans and their jobs: written and read, told apart by what decides their numbers, and adopted where they are done."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reslab.errors import ReslabError
from reslab.files.records import write_record
from reslab.paper.catalogue import Arm, Measure
from reslab.paper.choices import Choices
from reslab.paper.collect import collect_record
from reslab.paper.experiments import EXPERIMENTS
from reslab.paper.experiments.common import TRAINED
from reslab.paper.jobs import Subject, existing_runs, key_of_run, measure_key
from reslab.paper.measurements import measure_path, read_measure
from reslab.paper.plan import PLAN_NAME, read_plan
from reslab.paper.planning import Planner
from reslab.paper.record import Record
from reslab.paper.run import run_experiment
from reslab.paper.runner import is_done
from reslab.paper.work import do_job
from reslab.runs import Run
from reslab.trained import load_trained

ITERATIONS = 30  # of the small experiment


def planner_of(experiment, folder, **choices):
    return Planner(experiment, Choices(iterations=ITERATIONS, **choices), folder=folder, store=folder / "runs")


@pytest.fixture
def plan(tiny, tmp_path):
    return planner_of(tiny, tmp_path, seeds=2, depths=()).plan(ITERATIONS)


def test_a_plan_is_read_as_it_was_written(plan):
    plan.write()
    found = read_plan(plan.folder)
    assert found.to_dict() == plan.to_dict()
    assert found.choices == plan.choices
    assert [job.key for job in found.jobs] == [job.key for job in plan.jobs]
    assert [replace(job, subject=Subject()) for job in found.jobs] == [
        replace(job, subject=Subject()) for job in plan.jobs
    ]
    assert [asdict(job.subject) for job in found.jobs] == [asdict(job.subject) for job in plan.jobs]
    assert [job.subject.followed for job in found.jobs] == [job.subject.followed for job in plan.jobs]
    assert found.store.resolve() == plan.store.resolve()


@pytest.mark.parametrize("name", ["cause", "identity", "table1", "table3", "fig7"])
def test_plans_of_every_kind_are_read_as_they_were_written(name, tmp_path):
    planner = Planner(EXPERIMENTS[name], Choices(seeds=1), folder=tmp_path / "own", store=tmp_path / "runs")
    plan = planner.plan(planner.full_iterations(), budget=90.0)
    plan.write()
    found = read_plan(tmp_path / "own")
    assert found.to_dict() == plan.to_dict()
    assert [job.key for job in found.jobs] == [job.key for job in plan.jobs]
    assert [measure_key(measure, job) for job in found.jobs for measure in job.measures] == [
        measure_key(measure, job) for job in plan.jobs for measure in job.measures
    ]
    assert len({job.key for job in plan.jobs}) == len(plan.jobs)


def test_every_arm_and_seed_has_a_job_and_deep_networks_come_first(plan):
    assert [(job.arm, job.subject.seed) for job in plan.jobs] == [
        ("plain8", 0),
        ("resnet8", 0),
        ("plain8", 1),
        ("resnet8", 1),
    ]
    assert len({job.folder for job in plan.jobs}) == 4
    deep = Planner(EXPERIMENTS["fig6"], Choices(), folder=plan.folder, store=plan.store).plan(100)
    depths = [EXPERIMENTS["fig6"].arm(job.arm).depth for job in deep.jobs]
    assert depths == sorted(depths, reverse=True)
    five = Planner(EXPERIMENTS["table6"], Choices(), folder=plan.folder, store=plan.store).plan(100)
    assert [job.subject.seed for job in five.jobs if job.arm == "resnet110"] == [0, 1, 2, 3, 4]


def test_a_plan_that_is_not_there_or_damaged_gets_a_sentence(plan):
    with pytest.raises(ReslabError, match="no experiment was started there"):
        read_plan(plan.folder)
    plan.write()
    path = plan.folder / PLAN_NAME
    text = path.read_text()
    for damaged in (text[: len(text) // 2], "", "[]", '"x"', text.replace('"seed": 0', '"seed": 7', 1)):
        path.write_text(damaged)
        with pytest.raises(ReslabError, match=r"plan\.json is"):
            read_plan(plan.folder)
    path.write_text(text.replace('"schema_version": 2', '"schema_version": 1'))
    with pytest.raises(ReslabError, match="not a record of schema version 2"):
        read_plan(plan.folder)


@pytest.mark.parametrize("value", [..., None, 7, "x", [], [1], [{}], {"x": 1}])
@pytest.mark.parametrize("name", ["choices", "jobs", "store"])
def test_a_plan_of_another_form_gets_a_sentence(name, value, plan):
    """Even with the right checksum, as of another program's."""
    content = plan.to_dict()
    if value is ...:
        del content[name]
    else:
        content[name] = value
    write_record(plan.folder / PLAN_NAME, content)
    if (name, value) in (("jobs", []), ("store", "x")):
        assert read_plan(plan.folder)
        return
    with pytest.raises(ReslabError, match=r"plan\.json is damaged"):
        read_plan(plan.folder)


@pytest.mark.parametrize("name", ["experiment", "data", "iterations", "budget"])
def test_a_plan_that_lacks_something_gets_a_sentence(name, plan):
    content = plan.to_dict()
    del content[name]
    write_record(plan.folder / PLAN_NAME, content)
    with pytest.raises(ReslabError, match=rf"plan\.json is damaged: it lacks '{name}'"):
        read_plan(plan.folder)


def changed(values, path, value):
    """A copy of tables within tables, with another value at a path."""
    name, _, rest = path.partition(".")
    return {**values, name: changed(values[name], rest, value) if rest else value}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("optimizer.learning_rate", 0.05),
        ("optimizer.nesterov", True),
        ("schedule.length", "31 iterations"),
        ("data.batch_size", 64),
        ("regularization.ghost_batch", 16),
        ("hardware.precision", "bf16"),
        ("hardware.threads", 2),
        ("monitoring.eval_every", "5 iterations"),
    ],
)
def test_another_recipe_is_another_training(path, value, plan):
    subject = plan.jobs[0].subject
    assert replace(subject, recipe=changed(subject.recipe, path, value)).key != subject.key


def test_what_decides_a_training_is_in_its_key(plan):
    subject = plan.jobs[0].subject
    others = [
        replace(subject, seed=7),
        replace(subject, net="plain8[in_channels=1,init=fan_in]"),
        replace(subject, numerics=subject.numerics + 1),
        replace(subject, splits={**subject.splits, "train": "0" * 64}),
        replace(subject, splits={**subject.splits, "test": "0" * 64}),
        replace(subject, recipe=None),
    ]
    assert len({subject.key, *(other.key for other in others)}) == 1 + len(others)
    same = [
        replace(subject, recipe=changed(subject.recipe, "hardware.workers", 3)),  # processes that decode photos
        replace(subject, data="elsewhere/digits", data_dir="/somewhere"),  # the same images at another place
        replace(subject, recipe=dict(reversed(subject.recipe.items()))),
    ]
    assert {other.key for other in same} == {subject.key}


def test_what_decides_a_measurement_is_in_its_key(plan):
    job = plan.jobs[0]
    measure = Measure(name="protocol", options={"protocol": "crops"})
    keys = [
        measure_key(measure, job),
        measure_key(replace(measure, name="responses"), job),
        measure_key(replace(measure, options={"protocol": "dense"}), job),
        measure_key(measure, replace(job, options={"protocol": "dense", "x": 1})),
        measure_key(measure, replace(job, subject=replace(job.subject, seed=3))),
    ]
    assert len(set(keys)) == len(keys)
    assert measure_key(replace(measure, arms=(job.arm,)), replace(job, arm="another name")) == keys[0]
    trained = replace(job, subject=replace(job.subject, recipe=None, reference="a.pt", weights="1" * 64))
    others = replace(trained, subject=replace(trained.subject, weights="2" * 64))
    assert trained.subject.key != others.subject.key


def test_a_finished_run_has_the_key_of_the_job_that_planned_it(tiny_folder):
    plan = read_plan(tiny_folder)
    for job in plan.jobs:
        assert key_of_run(Run(plan.store / job.folder)) == job.subject.key
    found = existing_runs(plan.store)
    assert found == {job.subject.key: plan.store / job.folder for job in plan.jobs}


def test_the_measures_of_the_small_experiment_are_kept_with_its_runs(tiny_folder):
    plan = read_plan(tiny_folder)
    job = plan.jobs[0]
    found = read_measure(plan.store, job.measures[0], job)
    assert found["values"]["test_error"] == Run(plan.store / job.folder).figures()["test_error"]
    assert found["counts"]["test_error"] == 360
    missing = replace(job, subject=replace(job.subject, seed=9))
    with pytest.raises(ReslabError, match="plain8 seed 9 has not been measured"):
        read_measure(plan.store, job.measures[0], missing)


@pytest.fixture
def store(tiny_folder, tmp_path):
    """A folder of runs with one of plain8, under another name, and none of its measures."""
    job = next(job for job in read_plan(tiny_folder).jobs if job.arm == "plain8")
    shutil.copytree(tiny_folder / "runs" / job.folder, tmp_path / "runs" / "what I did in spring")
    return tmp_path / "runs"


def test_a_finished_run_is_adopted_whatever_its_folder_is_called(tiny, store):
    plan = planner_of(tiny, store.parent).plan(ITERATIONS)
    adopted, fresh = plan.jobs
    assert (adopted.arm, adopted.folder) == ("plain8", "what I did in spring")
    assert fresh.folder.startswith("resnet8-digits-30-seed0-")
    plan.write()
    run = store / adopted.folder
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert not is_done(plan, adopted)
    assert do_job(plan, adopted)
    assert is_done(plan, adopted)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    again = planner_of(tiny, store.parent, seeds=2).plan(ITERATIONS)
    assert next(job.folder for job in again.jobs if job.arm == "plain8") == adopted.folder


@pytest.mark.parametrize(
    ("path", "value"),
    [("seed", 1), ("model", "plain8[in_channels=1,init=fan_in]"), ("numerics", 2), ("weights", "a.pt"), ("shards", 2)],
)
def test_a_run_of_something_else_is_not_adopted(path, value, tiny, store):
    """Another seed, network or arithmetic; or one that did not begin with random weights."""
    (run,) = store.iterdir()
    record = json.loads((run / "run.json").read_text())
    write_record(run / "run.json", changed(record, path, value))
    assert planner_of(tiny, store.parent).plan(ITERATIONS).jobs[0].folder != run.name


def test_a_run_with_other_images_is_not_adopted(tiny, store):
    (run,) = store.iterdir()
    record = json.loads((run / "run.json").read_text())
    write_record(run / "run.json", changed(record, "data.splits.train.sha256", "0" * 64))
    assert planner_of(tiny, store.parent).plan(ITERATIONS).jobs[0].folder != run.name


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 2}', '"x"'])
def test_damaged_runs_are_passed_by(text, tiny, store):
    (run,) = store.iterdir()
    (run / "run.json").write_text(text)
    assert existing_runs(store) == {}
    assert planner_of(tiny, store.parent).plan(ITERATIONS).jobs[0].folder != run.name


@pytest.mark.parametrize("name", ["a copy", "zzz"])
def test_of_two_equal_runs_the_finished_one_is_adopted(name, tiny, store):
    (run,) = store.iterdir()
    shutil.copytree(run, store / name)
    (store / name / "result.json").unlink()
    assert planner_of(tiny, store.parent).plan(ITERATIONS).jobs[0].folder == run.name


def test_folders_can_be_moved_together(tiny, tiny_folder, tmp_path):
    moved = tmp_path / "elsewhere" / "deep" / "tiny"
    shutil.copytree(tiny_folder, moved)
    plan = read_plan(moved)
    assert plan.store == moved / "runs"
    assert all(is_done(plan, job) for job in plan.jobs)
    record = collect_record(tiny, plan)
    assert json.loads(json.dumps(record.content)) == Record.read(tiny_folder).content
    done = run_experiment("tiny", iterations=ITERATIONS, threads=1, out=moved, progress=False)
    assert done.record.content == json.loads(json.dumps(record.content))


def test_plans_that_share_their_runs_can_be_moved_with_them(tiny, tiny_folder, tmp_path):
    """As without --out: paper/NAME beside paper/runs."""
    whole = tmp_path / "a" / "paper"
    shutil.copytree(tiny_folder / "runs", whole / "runs")
    planner = Planner(tiny, Choices(iterations=ITERATIONS), folder=whole / "tiny", store=whole / "runs")
    planner.plan(ITERATIONS).write()
    (tmp_path / "b").mkdir()
    whole.rename(tmp_path / "b" / "moved")
    plan = read_plan(tmp_path / "b" / "moved" / "tiny")
    assert all(is_done(plan, job) for job in plan.jobs)
    assert json.loads((plan.folder / PLAN_NAME).read_text())["store"] == "../runs"


def test_experiments_share_their_trainings(tiny, tiny_folder, made_up, tmp_path):
    """Another one with the same arm under another name has its training done already."""
    shutil.copytree(tiny_folder / "runs", tmp_path / "runs")
    other = made_up(
        replace(
            tiny,
            name="other",
            claims=(),
            arms=(Arm(net="resnet20[blocks=1-1-1]", name="short"), Arm(net="resnet20[blocks=2-1-1]", name="longer")),
            measures=TRAINED,
        )
    )
    plan = planner_of(other, tmp_path).plan(ITERATIONS)
    assert [is_done(plan, job) for job in plan.jobs if job.arm == "short"] == [True]
    assert [is_done(plan, job) for job in plan.jobs if job.arm == "longer"] == [False]


def test_jobs_without_trainings_have_no_folder(tmp_path):
    plan = Planner(EXPERIMENTS["explosion"], Choices(), folder=tmp_path, store=tmp_path / "runs").plan(0)
    assert {job.folder for job in plan.jobs} == {""}
    assert len({job.subject.key for job in plan.jobs}) == 6 * EXPERIMENTS["explosion"].seeds
    computed = Planner(EXPERIMENTS["table1"], Choices(), folder=tmp_path, store=tmp_path / "runs").plan(0)
    assert computed.data == {}
    assert [job.subject.seed for job in computed.jobs] == [0] * 9
    toys = Planner(EXPERIMENTS["identity"], Choices(), folder=tmp_path, store=tmp_path / "runs").plan(0)
    assert {job.subject.net for job in toys.jobs} == {""}
    keys = {measure_path(toys.store, measure, job) for job in toys.jobs for measure in job.measures}
    assert len(keys) == len(toys.jobs)


def test_trained_networks_take_the_place_of_the_arms(tiny_folder, tmp_path):
    runs = [str(tiny_folder / "runs" / job.folder) for job in read_plan(tiny_folder).jobs]
    planner = Planner(EXPERIMENTS["fig7"], Choices(nets=tuple(runs)), folder=tmp_path, store=tmp_path / "runs")
    plan = planner.plan(planner.full_iterations())
    assert [(job.arm, job.folder, job.subject.seed) for job in plan.jobs] == [
        (Path(run).name, "", 0) for run in sorted(runs, key=lambda run: "plain" in run, reverse=True)
    ]
    assert {measure.name for job in plan.jobs for measure in job.measures} == {"responses"}
    assert len({job.subject.weights for job in plan.jobs}) == 2
    with pytest.raises(ReslabError, match="--nets is for"):
        Planner(EXPERIMENTS["explosion"], Choices(nets=tuple(runs)), folder=tmp_path, store=tmp_path / "runs")


def test_a_given_mean_is_of_the_networks_that_do_not_say_theirs(tiny_folder, tmp_path):
    run, other = (tiny_folder / "runs" / job.folder for job in read_plan(tiny_folder).jobs)
    file = shutil.copy(other / "weights.safetensors", tmp_path / "alone.safetensors")
    name = f"{Run(other).record['model']}={file}"

    def means(*nets):
        chosen = Choices(nets=tuple(map(str, nets)), mean=(0.3,), std=(0.4,))
        planner = Planner(EXPERIMENTS["fig7"], chosen, folder=tmp_path, store=tmp_path / "runs")
        return {job.subject.reference: job.subject.mean for job in planner.plan(0).jobs}

    assert means(run, name) == {str(run): (), name: (0.3,)}
    assert means(run) == {str(run): (0.3,)}  # which is refused when it is loaded


def test_trained_networks_are_tested_alone_and_together(tiny_folder, digits, tmp_path):
    """Table 5 of networks that are there: the ensemble's error is that of the mean of their probabilities."""
    trained = read_plan(tiny_folder).jobs
    nets = tuple(str(tiny_folder / "runs" / job.folder) for job in trained)
    planner = Planner(EXPERIMENTS["table5"], Choices(nets=nets), folder=tmp_path, store=tmp_path / "runs")
    plan = planner.plan(0)
    assert all(do_job(plan, job) for job in plan.jobs)
    record = collect_record(planner.experiment, plan)
    errors = {row["arm"]: row["values"]["test_error"] for row in record.all_rows}
    for job in trained:
        own = Run(tiny_folder / "runs" / job.folder).figures()["test_error"]
        assert errors[job.folder] == pytest.approx(own)
    test, probabilities = digits.split("test"), []
    for net in nets:
        trained_net = load_trained(net)
        images = trained_net.normalization(test.read(0, len(test)))  # (N, H, W, C)
        with torch.inference_mode():
            logits = trained_net.model(torch.from_numpy(images).permute(0, 3, 1, 2))
        probabilities.append(logits.softmax(dim=1).numpy())
    wrong = np.mean(probabilities, axis=0).argmax(axis=1) != test.labels
    assert errors["all together"] == pytest.approx(100 * wrong.mean())
    assert set(record.arm_names) == {"all together", *(job.folder for job in trained)}


def test_two_networks_of_one_name_cannot_be_told_apart(tiny_folder, tmp_path):
    run = tiny_folder / "runs" / read_plan(tiny_folder).jobs[0].folder
    for name in ("a", "b"):
        shutil.copytree(run, tmp_path / name / "run")
    with pytest.raises(ReslabError, match="two of the networks in --nets are called alike: run, run"):
        Planner(
            EXPERIMENTS["fig7"],
            Choices(nets=(str(tmp_path / "a" / "run"), str(tmp_path / "b" / "run"))),
            folder=tmp_path,
            store=tmp_path / "runs",
        )
