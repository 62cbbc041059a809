import os
import signal

import pytest

from reslab.errors import RecipeError
from reslab.training.stopping import StopAfter, StopRequests


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500", StopAfter(iteration=500)),
        ("90s", StopAfter(seconds=90)),
        ("30m", StopAfter(seconds=1800)),
        ("2h", StopAfter(seconds=7200)),
        ("1.5d", StopAfter(seconds=129600)),
        (" 2 h ", StopAfter(seconds=7200)),
    ],
)
def test_stops_are_read(text, expected):
    assert StopAfter.parse(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-3", "2x", "1.5", "h", "1e3", "0s", "nan"])
def test_a_stop_that_means_nothing_gets_a_sentence(text):
    with pytest.raises(RecipeError, match="cannot read the stop"):
        StopAfter.parse(text)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_noted_and_handlers_restored(number):
    before = signal.getsignal(number)
    with StopRequests(None) as stop:
        assert stop.reason(0) is None
        os.kill(os.getpid(), number)
        assert stop.reason(0) == signal.Signals(number).name
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequests(None) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.reason(0) is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_ctrl_c_interrupts_at_once():
    with StopRequests(None):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_iterations_and_time_stop():
    assert StopRequests(StopAfter(iteration=3)).reason(2) is None
    assert StopRequests(StopAfter(iteration=3)).reason(3) == "iteration 3"
    assert StopRequests(StopAfter(seconds=1e-9)).reason(0) == "1e-09 s"
