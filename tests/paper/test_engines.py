"""Real trainings that are stopped and killed, on every engine: their results are those of uninterrupted ones.

Each start of a process takes seconds, so most of it is for `make test-all`.
"""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from reslab.paper.choices import Choices
from reslab.paper.planning import Planner
from reslab.paper.record import Record
from reslab.runs import Run

CONFTEST = Path(__file__).with_name("conftest.py")
TIMINGS = ("images_per_second", "train_seconds")
SCRIPT = """
import importlib.util, pathlib, sys
import pytest
spec = importlib.util.spec_from_file_location("small", sys.argv[1])
small = importlib.util.module_from_spec(spec)
spec.loader.exec_module(small)
small.register(pytest.MonkeyPatch(), small.TINY)
from reslab.paper.run import run_experiment
if __name__ == "__main__":
    done = run_experiment(
        "tiny", iterations=small.TINY_ITERATIONS, out=pathlib.Path(sys.argv[2]), engine=sys.argv[3], jobs=2, threads=1,
        progress=False,
    )
    sys.exit(75 if done.stopped_by else 0)
"""


@pytest.fixture
def script(tmp_path):
    """A program that runs the small experiment in a folder by an engine, two jobs side by side."""
    path = tmp_path / "small.py"
    path.write_text(SCRIPT)
    return lambda out, engine="local": [sys.executable, str(path), str(CONFTEST), str(out), engine]


def fig6(out, engine="local"):
    """Plain-20 and ResNet-20, one after the other."""
    command = [sys.executable, "-m", "reslab", "paper", "run", "fig6", "--depths", "20", "--iterations", "60"]
    return [*command, "--jobs", "1", "--threads", "1", "--engine", engine, "--out", str(out)]


def results(folder):
    """Rows and series without what a clock says."""
    content = Record.read(folder).content
    rows = [
        {**row, "values": {name: value for name, value in row["values"].items() if name not in TIMINGS}}
        for row in content["rows"]
    ]
    return rows, content["series"], content["verdicts"]


def num_rows(folder):
    """Iterations that have been written down, of all runs."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("runs/*/metrics.jsonl"))


def start(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def finish(command, timeout=300):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr


def children(pid):
    """Processes that a process has started."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.02)


def interrupted(command, out, kills, chance, most_rows):
    """Starts a command again and again, and ends it at random moments.

    Each time some more rows are written first, or a few seconds pass, as within the start.

    Args:
        command: that goes on where it was.
        out: folder of the experiment.
        kills: how often it is ended.
        chance: generator of random numbers.
        most_rows: written before it is ended.

    Returns:
        How often it was ended before it was done, by each way.
    """
    ways = {"SIGTERM": 0, "SIGKILL": 0, "SIGKILL of all": 0}
    for number in range(kills):
        way = list(ways)[number % 3]
        process = start(command)
        goal = num_rows(out) + chance.randint(1, most_rows)
        moment = time.monotonic() + (chance.uniform(0, 6) if chance.random() < 0.2 else 120)
        while process.poll() is None and num_rows(out) < goal and time.monotonic() < moment:
            time.sleep(0.01)
        if process.poll() is None:
            ways[way] += 1
            if way == "SIGKILL of all":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.send_signal(signal.SIGTERM if way == "SIGTERM" else signal.SIGKILL)
        output = process.communicate(timeout=120)[0].decode()
        assert process.returncode in (0, 75, 128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGKILL), output
        if (out / "results.json").exists():
            break
    return ways


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_small_experiment_is_ended_at_random_moments(script, tiny, tiny_folder, tmp_path):
    out = tmp_path / "out"
    ways = interrupted(script(out), out, 6, random.Random(1), 8)
    finish(script(out))
    assert sum(ways.values()) >= 4, ways
    assert results(out) == results(tiny_folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """fig6 of 20 layers, uninterrupted."""
    out = tmp_path_factory.mktemp("whole") / "fig6"
    finish(fig6(out))
    return results(out)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_ten_kills_change_nothing(engine, whole, tmp_path):
    if engine == "ray":
        pytest.importorskip("ray")
    out = tmp_path / "fig6"
    ways = interrupted(fig6(out, engine), out, 10, random.Random(2), 12)
    finish(fig6(out, engine))
    assert sum(ways.values()) == 10, ways
    assert results(out) == whole


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_whose_process_is_killed_is_started_again(script, tiny, tiny_folder, tmp_path):
    """By somebody else, while the experiment goes on; once with a signal that it cannot see, once with one it can."""
    out = tmp_path / "out"
    with start(script(out)) as process:
        for number in (signal.SIGKILL, signal.SIGTERM):
            before = num_rows(out)
            wait_for(lambda before=before: num_rows(out) > before + 2 or process.poll() is not None)
            (victim, *_) = children(process.pid)
            os.kill(victim, number)
            wait_for(lambda victim=victim: victim not in children(process.pid))
        output = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 0, output
    assert results(out) == results(tiny_folder)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_that_fails_says_why_and_goes_on_once_it_is_mended(script, tiny, tiny_folder, tmp_path):
    """In the place of a run lies something else, which no training may write over."""
    out = tmp_path / "out"
    planner = Planner(tiny, Choices(iterations=30), folder=out, store=out / "runs")
    name = planner.plan(30).jobs[1].folder
    (out / "runs" / name).mkdir(parents=True)
    (out / "runs" / name / "run.json").write_text('{"schema_version": 2, "notes": "of my own"}')
    done = subprocess.run(script(out), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert "resnet8 seed 0 failed: " in error
    assert f"{name}/run.json is damaged" in error
    assert "The same command goes on from here." in error
    (out / "runs" / name / "run.json").unlink()
    finish(script(out))
    assert results(out) == results(tiny_folder)


RAY_SCRIPT = textwrap.dedent(
    """
    import json, os, pathlib, sys
    exec(pathlib.Path(sys.argv[4]).read_text().partition("if __name__")[0])
    import ray
    from reslab.paper.engines import ray as engine

    work = engine._work
    def watched(command, log, stop):
        pathlib.Path(log).parent.mkdir(parents=True, exist_ok=True)
        with pathlib.Path(log).with_suffix(".workers").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        return work(command, log, stop)

    if __name__ == "__main__":
        engine._work = watched
        done = run_experiment(
            "tiny", iterations=small.TINY_ITERATIONS, out=pathlib.Path(sys.argv[2]), engine="ray", jobs=2, threads=1,
            progress=False,
        )
        sys.exit(75 if done.stopped_by else 0)
    """
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_whose_ray_worker_dies_is_done_again(script, tiny, tiny_folder, tmp_path):
    """Two workers of a local cluster, one of which is killed in the middle of its training; in a program that has
    imported Ray itself."""
    pytest.importorskip("ray")
    out = tmp_path / "out"
    program = tmp_path / "watched.py"
    program.write_text(RAY_SCRIPT)
    command = script(out, "ray")
    workers = out / "logs" / "000.workers"
    with start([command[0], str(program), *command[2:], command[1]]) as process:
        wait_for(lambda: process.poll() is not None or num_rows(out) > 12, 300)
        assert process.poll() is None, process.communicate()[0].decode()
        (worker,) = map(int, workers.read_text().split())
        os.kill(worker, signal.SIGKILL)
        output = process.communicate(timeout=400)[0].decode()
    assert process.returncode == 0, output
    assert len(workers.read_text().split()) == 2
    assert results(out) == results(tiny_folder)
    for row in Record.read(out).all_rows:
        assert Run(out / "runs" / row["run"]).finished
    assert json.loads((out / "results.json").read_text())["experiment"] == "tiny"
