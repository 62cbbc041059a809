"""Does jobs in a process of its own: the training, resumed where it was, and the measures that are not there yet.

    python -m reslab.paper.worker PLAN_FOLDER NUMBER...
    python -m reslab.paper.worker PLAN_FOLDER NUMBER --rate FILE     measures how fast it would go

Ends with 0 once all is done, with 75 where it was asked to stop and everything is saved, and with 2 and a sentence
where it cannot be done.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from reslab.errors import ReslabError, ReslabWarning
from reslab.streams import say

__all__ = ["STOPPED", "main"]

STOPPED = 75  # EX_TEMPFAIL: try again later


def main(arguments: Sequence[str] | None = None) -> int:
    """Does jobs of a plan; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reslab.paper.worker", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the plan")
    parser.add_argument("numbers", type=int, nargs="+", help="of the jobs in the plan")
    parser.add_argument("--rate", type=Path, help="measure the job's rate and write it to this file")
    asked = parser.parse_args(arguments)
    warnings.showwarning = lambda message, *_: say(f"reslab: {message}")
    warnings.simplefilter("always", ReslabWarning)
    from reslab.paper.plan import read_plan

    try:
        plan = read_plan(asked.folder)
        jobs = [plan.jobs[number] for number in asked.numbers]
        if asked.rate is not None:
            from reslab.paper.rates import write_rate

            write_rate(plan, jobs[0], asked.rate)
            return 0
        from reslab.paper.work import do_job

        return 0 if all(do_job(plan, job) for job in jobs) else STOPPED
    except ReslabError as error:
        say(f"reslab: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
