"""A job that two experiments need at once is done by one of them."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from filelock import FileLock

from reslab.paper.choices import Choices
from reslab.paper.measurements import measure_path
from reslab.paper.planning import Planner
from reslab.paper.work import do_job
from reslab.runs import Run


@pytest.fixture
def plan(tiny, tiny_folder, tmp_path):
    """Of the small experiment, all trained, without the measures of its first job."""
    store = tmp_path / "runs"
    shutil.copytree(tiny_folder / "runs", store)
    plan = Planner(tiny, Choices(iterations=30), folder=tmp_path, store=store).plan(30)
    for measure in plan.jobs[0].measures:
        measure_path(store, measure, plan.jobs[0]).unlink()
    return plan


def lock_of(plan):
    return FileLock(plan.store / ".locks" / f"{plan.jobs[0].subject.key[:32]}.lock")


def test_a_job_waits_for_another_process_that_does_it(plan):
    job = plan.jobs[0]
    done = []
    thread = threading.Thread(target=lambda: done.append(do_job(plan, job)))
    (plan.store / ".locks").mkdir(exist_ok=True)
    with lock_of(plan):
        thread.start()
        time.sleep(1.0)
        assert done == []
        assert not any(measure_path(plan.store, measure, job).exists() for measure in job.measures)
    thread.join(60)
    assert done == [True]
    assert all(measure_path(plan.store, measure, job).is_file() for measure in job.measures)


def test_a_job_that_waits_can_be_stopped(plan):
    (plan.store / ".locks").mkdir(exist_ok=True)
    with lock_of(plan):
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        assert do_job(plan, plan.jobs[0]) is False
        timer.join()
    assert not any(measure_path(plan.store, measure, plan.jobs[0]).exists() for measure in plan.jobs[0].measures)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_experiments_train_what_they_share_once(tmp_path):
    """fig1 and fig6 have the same 20-layer nets; both begin at once in one folder."""

    def begin(name):
        command = [sys.executable, "-m", "reslab", "paper", "run", name, "--iterations", "40", "--depths", "20"]
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    begun = [begin(name) for name in ("fig1", "fig6")]
    for process in begun:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    runs = sorted((tmp_path / "paper" / "runs").glob("*/run.json"))
    assert len(runs) == 2
    assert all(Run(path.parent).finished for path in runs)
    assert len(list((tmp_path / "paper").glob("fig[16]-*/results.json"))) == 2
