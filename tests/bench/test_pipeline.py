import pytest

from reslab.bench.pipeline import most_possible


@pytest.mark.parametrize(
    ("decoding", "network", "threads", "cores", "expected"),
    [
        (800, 80, 2, 2, 1 / (1 / 800 + 1 / 80)),  # both want every core
        (800, 40, 1, 2, 40),  # the other core decodes 400 a second, and the network waits for nothing
        (50, 40, 1, 2, 2 / (2 / 50 + 1 / 40)),  # one core decodes 25 a second, so that it needs part of the other
        (50, 1e9, 8, 2, 50),
        (80, 80, 4, 4, 40),
    ],
)
def test_the_limit_is_what_the_core_seconds_of_both_parts_leave(decoding, network, threads, cores, expected):
    assert most_possible(decoding, network, threads, cores) == pytest.approx(expected, rel=1e-6)
