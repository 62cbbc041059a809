"""Training speed, end to end, against the loop that most people write.

    python benchmarks/training_speed.py FOLDER [--models resnet20 resnet56] [--json results/bench/training_speed.json]

FOLDER holds train/<class>/*.jpg, e.g. CIFAR-10 as images. This is `reslab bench training` with the settings of the
README's table: the paper's recipe, and as the peer the same network in eager mode and NCHW layout, fed by torchvision's
ImageFolder, PIL transforms (crop of the image padded by 4, flip, to tensor, normalise) and a DataLoader of two workers.
"""

import argparse
import sys
from pathlib import Path

from reslab.cli.main import main as reslab


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the record to this file")
    asked = parser.parse_args()
    settings = ["--data", str(asked.folder), "--turns", str(asked.turns), "--steps", str(asked.steps)]
    out = ["--out", str(asked.json)] if asked.json else []
    return reslab(["bench", "training", *asked.models, *settings, "--peers", "eager-nchw", *out])


if __name__ == "__main__":
    sys.exit(main())
