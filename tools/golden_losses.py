"""The first losses of a training, kept so that a change of the arithmetic does not go unnoticed.

    python tools/golden_losses.py                                   compare
    python tools/golden_losses.py --renew "reason of the change"    write them anew

They are of ResNet-8 on the digits under digits-quick at a lower rate: 20 iterations in fp32 on one thread. Rounding, in
which processors differ, grows with depth, with the rate, and from step to step: by 1e-6 here, and by 5 % in a ResNet-20
at the recipe's own rate, in which a fault could hide. Whoever renews them raises
NUMERICS_VERSION in src/reslab/training/numerics.py as well, so that finished runs of the old arithmetic are not taken
for runs of the new one.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import reslab
from reslab.environment import describe_environment
from reslab.training.numerics import NUMERICS_VERSION

PATH = Path(__file__).resolve().parents[1] / "tests" / "training" / "golden" / "resnet8-digits.json"
ITERATIONS = 20
TOLERANCE = 1e-3
"""Of losses on another processor, relative."""
FIELDS = {
    "hardware.threads": "1",
    "hardware.precision": "fp32",
    "optimizer.learning_rate": "0.003",
    "monitoring.log_every": "1",
}


def losses() -> list[float]:
    """The losses as they are here and now."""
    with tempfile.TemporaryDirectory() as folder:
        ended = reslab.train(
            "resnet8",
            "digits",
            recipe="digits-quick",
            fields=FIELDS,
            run_dir=Path(folder, "run"),
            stop_after=str(ITERATIONS),
        )
        return [row["loss"] for row in ended.run.rows()]


def machine() -> dict[str, Any]:
    """What bits depend on, besides the code."""
    environment = describe_environment()
    return {
        "processor": environment["processor"],
        "torch": environment["packages"]["torch"],
        "kernels": environment["kernels"],
    }


def difference(kept: list[float], found: list[float]) -> float:
    """The largest relative difference of two losses."""
    return max(abs(ours - theirs) / abs(theirs) for ours, theirs in zip(found, kept, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", metavar="REASON", help="write the losses anew, for this reason")
    asked = parser.parse_args()
    found = losses()
    if asked.renew:
        record = {"reason": asked.renew, "numerics": NUMERICS_VERSION, **machine(), "losses": found}
        PATH.write_text(json.dumps(record, indent=2) + "\n")
        print(PATH)
        return 0
    kept = json.loads(PATH.read_text())
    largest = difference(kept["losses"], found)
    same = all(kept[name] == value for name, value in machine().items())
    print(f"largest relative difference {largest:.2g}, {'the same' if same else 'another'} machine")
    return int(largest > (0 if same else TOLERANCE))


if __name__ == "__main__":
    sys.exit(main())
