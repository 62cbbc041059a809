"""Turns, with processes that take no time."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from reslab.bench.turns import BenchmarkError, Contender, Turns, take_turns

HERE = Path(__file__).parent
ONE_STEP = Turns(number=2, steps=1, untimed_steps=0)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    import tiny_contenders

    return tiny_contenders


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "log"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_contenders_take_turns_in_processes_of_their_own(tiny, log, capfd):
    told = []
    contenders = [Contender(name, partial(tiny.worker, name, log)) for name in "ab"]
    a, b = take_turns(contenders, Turns(number=2, steps=2, untimed_steps=1), tell=told.append)
    steps = log.read_text().splitlines()
    assert steps[::2] == [line.replace("ends", "begins") for line in steps[1::2]]  # never two at a time
    assert "".join(line[0] for line in steps[::2]) == "ab" + "aaabbb" + "aaabbb"  # first steps, then turns
    assert (len(a.rates), a.details["peak"]) == (2, 7)
    assert a.rate == sum(a.rates) / 2
    assert 0 < a.rate < 10 / 0.001  # ten images a step of a millisecond at the least
    assert a.first_step_seconds >= 0.001
    assert len({a.details["pid"], b.details["pid"], os.getpid()}) == 3
    assert not any(alive(outcome.details["pid"]) for outcome in (a, b))
    assert not Path(a.details["folder"]).parent.exists()
    assert told == [
        "a: first step", "b: first step", "a: turn 1 of 2", "b: turn 1 of 2", "a: turn 2 of 2", "b: turn 2 of 2",
    ]  # fmt: skip
    assert capfd.readouterr() == ("", "")


def test_a_turn_lasts_as_long_as_asked(tiny, log):
    take_turns([Contender("a", partial(tiny.worker, "a", log))], Turns(1, 1, seconds=0.05, untimed_steps=0))
    assert len(log.read_text().splitlines()) > 2 * 5


def test_who_cannot_run_is_reported_and_the_others_go_on(tiny, log):
    contenders = [
        Contender("absent", tiny.absent),
        Contender("a", partial(tiny.worker, "a", log)),
        Contender("bare", tiny.without_library),
    ]
    absent, a, bare = take_turns(contenders, ONE_STEP)
    assert (absent.absent, absent.rates) == ("there is no such network", ())
    assert (bare.absent, bare.rates) == ("no_such_library is not installed", ())
    assert len(a.rates) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [("raises", "^bad failed: RuntimeError: the tensors do not fit$"), ("refused", "^bad failed: the folder is empty")],
)
def test_a_contender_that_fails_gives_a_sentence(tiny, name, message):
    with pytest.raises(BenchmarkError, match=message):
        take_turns([Contender("bad", getattr(tiny, name))], ONE_STEP)


@pytest.mark.parametrize(
    ("how", "message"),
    [("ended", "ended with code 3: the last words"), ("killed", "SIGKILL, as when memory runs out: the last words")],
)
def test_a_contender_that_dies_gives_a_sentence_and_ends_the_others(tiny, log, how, message):
    contenders = [
        Contender("sleeper", partial(tiny.dies, log, "never asked")),
        Contender("mortal", partial(tiny.dies, log, how)),
    ]
    with pytest.raises(BenchmarkError, match=message):
        take_turns(contenders[::-1], ONE_STEP)
    assert not any(alive(int(pid)) for pid in log.read_text().split())


@pytest.mark.parametrize(
    "wrong", [{"number": 0}, {"steps": 0}, {"seconds": -1.0}, {"seconds": float("nan")}, {"steps": 10**9}]
)
def test_turns_that_make_no_sense_are_refused(wrong):
    with pytest.raises(BenchmarkError, match="must be between"):
        Turns(**wrong)


def test_an_interrupt_ends_every_process(log):
    program = (
        "import signal, sys; from functools import partial; from pathlib import Path\n"
        "from reslab.bench.turns import *\n"
        "import tiny_contenders as tiny\n"
        "log = Path(sys.argv[1])\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in what a shell runs with &
        "    contenders = [Contender(name, partial(tiny.sleeps, log)) for name in 'ab']\n"
        "    take_turns(contenders, Turns(1, 1, untimed_steps=0))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(log)], env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in errors
    assert errors.count(b"Traceback") == 1
    assert not alive(int(log.read_text()))
