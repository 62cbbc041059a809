"""Jobs side by side in processes that end well, fail, are killed and are asked to stop; small ones, without torch."""

import contextlib
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from reslab.errors import ReslabError
from reslab.files.records import write_record
from reslab.paper.budget import measured_rates
from reslab.paper.choices import Choices
from reslab.paper.engines import local, make_engine
from reslab.paper.engines.local import LocalEngine
from reslab.paper.plan import PLAN_NAME, read_plan
from reslab.paper.planning import Planner
from reslab.paper.progress import PlanProgress
from reslab.paper.rates import Rate
from reslab.paper.scheduler import in_groups, log_path, run_jobs
from reslab.training.stopping import PARENT_VARIABLE

PROCESS = """
import os, pathlib, signal, sys, time
folder, number = pathlib.Path(sys.argv[1]), int(sys.argv[2])

def note(word):
    with (folder / "notes").open("a") as file:
        file.write(f"{number} {word} {time.monotonic()}\\n")

def times(word):
    return sum(line.split()[:2] == [str(number), word] for line in (folder / "notes").read_text().splitlines())

def asked(*_):
    note("asked")
    sys.exit(75)

signal.signal(signal.SIGTERM, asked)
note("started")
"""


@pytest.fixture
def plan(tiny, tmp_path):
    planner = Planner(tiny, Choices(iterations=20, seeds=2), folder=tmp_path, store=tmp_path / "runs")
    plan = planner.plan(20)
    plan.write()
    return plan


@pytest.fixture
def run(plan, monkeypatch):
    """Runs the plan's jobs as processes of the code given; gives the signal that stopped them, and what they noted."""

    def do(code, *, slots=2, numbers=(0, 1, 2, 3)):
        def command(folder, wanted, rate=None):
            return [sys.executable, "-S", "-c", PROCESS + code, str(folder), *map(str, wanted)]

        monkeypatch.setattr(local, "worker_command", command)
        shown = PlanProgress(plan, numbers, "a test", silent=True)
        with shown:
            stopped = run_jobs(plan, [(number,) for number in numbers], LocalEngine(slots), shown)
        return stopped, notes(plan.folder)

    return do


def notes(folder):
    lines = [line.split() for line in (folder / "notes").read_text().splitlines()]
    return [(int(number), word, float(at)) for number, word, at in lines]


def words_of(found, word):
    return [number for number, other, _ in found if other == word]


def test_all_jobs_are_done_in_order_and_no_more_than_the_slots_at_once(run):
    stopped, found = run("time.sleep(0.3); note('done')", slots=2)
    assert stopped is None
    assert sorted(words_of(found, "started")[:2]) == [0, 1]
    assert sorted(words_of(found, "done")) == [0, 1, 2, 3]
    running, most = set(), 0
    for number, word, _ in sorted(found, key=lambda item: item[2]):
        running = running | {number} if word == "started" else running - {number}
        most = max(most, len(running))
    assert most == 2


def test_a_job_that_is_killed_is_done_again(run):
    """Twice by something else, as by a machine that lacks memory."""
    code = "os.kill(os.getpid(), signal.SIGKILL) if number == 1 and times('started') < 3 else note('done')"
    stopped, found = run(code)
    assert stopped is None
    assert words_of(found, "started").count(1) == 3
    assert sorted(words_of(found, "done")) == [0, 1, 2, 3]


def test_a_job_that_was_asked_to_stop_by_somebody_else_goes_on(run):
    """It ends with 75 and has saved its state; nobody asked the experiment to stop."""
    code = "os.kill(os.getpid(), signal.SIGTERM) if number == 1 and times('started') < 3 else note('done')"
    stopped, found = run(code)
    assert stopped is None
    assert words_of(found, "asked") == [1, 1]
    assert sorted(words_of(found, "done")) == [0, 1, 2, 3]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 75)])
def test_a_job_that_never_ends_well_is_given_up(run, plan, number, status):
    code = f"os.kill(os.getpid(), {int(number)}) if number == 2 else note('done')"
    with pytest.raises(ReslabError, match=rf"plain8 seed 1 failed: it printed nothing and ended with {status}"):
        run(code)
    assert words_of(notes(plan.folder), "started").count(2) == 4


def test_a_job_that_fails_says_why_and_the_others_are_asked_to_stop(run, plan):
    code = """
if number == 1:
    time.sleep(0.3)
    print("some warning", file=sys.stderr)
    print("reslab: the images are blue.", file=sys.stderr)
    sys.exit(2)
time.sleep(60)
"""
    started = time.monotonic()
    with pytest.raises(ReslabError, match=r"resnet8 seed 0 failed: the images are blue\. \(all of it: ") as failure:
        run(code)
    assert time.monotonic() - started < 30
    assert str(log_path(plan, 1)) in str(failure.value)
    assert "The same command goes on from here" in str(failure.value)
    assert log_path(plan, 1).read_text() == "some warning\nreslab: the images are blue.\n"
    assert words_of(notes(plan.folder), "asked") == [0]
    assert words_of(notes(plan.folder), "started").count(2) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_with_their_states_saved(run, plan, number):
    def stop():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                if len(notes(plan.folder)) >= 2:
                    break
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop)
    thread.start()
    stopped, found = run("time.sleep(60)")
    thread.join()
    assert stopped == signal.Signals(number).name
    assert sorted(words_of(found, "asked")) == sorted(words_of(found, "started")) == [0, 1]


def test_stopped_while_speeds_are_measured_there_is_no_plan_yet(plan, monkeypatch, tmp_path):
    """The same command begins anew, and does not go on with a plan of the full length."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plan = replace(plan, folder=tmp_path / "budgeted")
    code = "os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)"
    monkeypatch.setattr(
        local,
        "worker_command",
        lambda folder, wanted, rate: [sys.executable, "-S", "-c", PROCESS + code, str(folder), *map(str, wanted)],
    )
    assert measured_rates(plan, LocalEngine(1), progress=False) == ({}, "SIGTERM")
    assert not (plan.folder / PLAN_NAME).exists()


def test_speeds_are_measured_once_for_each_network(plan, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plan = replace(plan, folder=tmp_path / "budgeted")
    rate = Rate(iteration_seconds=0.01, image_seconds=0.001, start_seconds=3.0)
    write_record(tmp_path / "rate.json", {"schema_version": 2, **asdict(rate)})
    code = f"import shutil; shutil.copy({str(tmp_path / 'rate.json')!r}, sys.argv[-1])"

    def command(folder, wanted, target):
        return [sys.executable, "-S", "-c", PROCESS + code, str(folder), *map(str, wanted), str(target)]

    monkeypatch.setattr(local, "worker_command", command)
    assert measured_rates(plan, LocalEngine(2), progress=False) == ({"plain8": rate, "resnet8": rate}, None)
    assert sorted(words_of(notes(plan.folder / "rates"), "started")) == [0, 1]
    monkeypatch.setattr(local, "worker_command", lambda *_: ["false"])
    assert measured_rates(plan, LocalEngine(2), progress=False) == ({"plain8": rate, "resnet8": rate}, None)


def test_jobs_know_the_process_without_which_they_end(run):
    _, found = run(f"note(os.environ['{PARENT_VARIABLE}'])", numbers=(0,))
    assert found[1][1] == str(os.getpid())


@pytest.mark.parametrize(("visible", "used"), [("3,5", ["3", "5", "3", "5"]), ("2", ["2"] * 4), ("", ["none"] * 4)])
def test_each_job_has_a_gpu_of_those_that_may_be_used(run, monkeypatch, visible, used):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    _, found = run("note(os.environ['CUDA_VISIBLE_DEVICES'] or 'none')", slots=1)
    assert [word for _, word, _ in found if word != "started"] == used


def test_trainings_are_alone_and_what_is_only_measured_shares_processes(plan):
    assert in_groups(plan, [0, 1, 3], 2) == [(0,), (1,), (3,)]
    toys = read_plan(plan.folder)
    toys.jobs[:] = [type(job).from_dict({**job.to_dict(), "folder": ""}) for job in toys.jobs]
    assert in_groups(toys, [0, 1, 2, 3], 3) == [(0, 3), (1,), (2,)]
    assert in_groups(toys, [2], 3) == [(2,)]
    assert in_groups(toys, [], 3) == []


def test_an_unknown_engine_gets_a_sentence():
    with pytest.raises(ReslabError, match="no engine 'slurm'; choose local or ray"):
        make_engine("slurm", slots=1, threads=1)


def test_progress_says_now_and_then_how_far_jobs_are(plan, capsys):
    with PlanProgress(plan, [0, 1], "tiny") as shown:
        shown.started(0)
        shown.update()
        shown.update()
        shown.started(1)
        shown.done(0)
        shown.update()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["plain8", "seed", "0"],
        ["plain8", "seed", "0"],
        ["resnet8", "seed", "0"],
    ]
    assert [line.split()[3] for line in lines] == ["0/20", "20/20", "0/20"]
