"""What weights of another training are worth: fine-tuning against training from scratch, and against the head alone.

    python benchmarks/transfer.py pretrain --cifar cifar10-jpeg/ --work runs/transfer       once, half an hour or so
    python benchmarks/transfer.py few --cifar cifar10-jpeg/ --photos ants-and-bees/ --work runs/transfer
    python benchmarks/transfer.py thousand --photos ants-and-bees/ --work runs/transfer

pretrain trains ResNet-18 at 64 pixels on the first seven classes of CIFAR-10 as JPEG files, by name, for three epochs.
few fine-tunes it on 50 images of each of the other three classes, and on a folder of photos with train/ and val/, and
trains the same from scratch, with three seeds each. The images that the errors are of decide nothing: of CIFAR-10 they
are its test images; of the photos those of val/, with the last iteration's weights and no early end.
thousand takes 1,000 photos: those of the folder, and crops of them until there are as many, which are near-duplicates
and so held out together. At 128 pixels it fine-tunes all layers, and the head alone for as many iterations; it gives
the errors on what is held out and the minutes of the whole command with the run's report.

Finished trainings in --work are not done again.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from PIL import Image
from scipy import stats

from reslab.bench.records import make_record
from reslab.bench.tables import make_table
from reslab.cli.output import print_table
from reslab.files.atomic import write_json
from reslab.runs import Run

FOLDER = Path(__file__).resolve().parents[1] / "results" / "bench"
NET, SEEDS, FEW, PRETRAINED_CLASSES, THOUSAND = "resnet18", (0, 1, 2), 50, 7, 1000
SIZE = ("--train-size", "64", "--data.images.test-size", "64", "--data.images.test-resize", "64")


def reslab(*words: str | Path) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "reslab", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def trained(run: Path, *words: str | Path) -> Run:
    """A finished run, which is trained or gone on with where it is not there."""
    if not Run(run).finished:
        reslab("train", NET, *words, "--run-dir", run, "--resume", "--quiet")
    return Run(run)


def error_of(run: Run, role: str) -> float:
    """Top-1 error in % on the images of a role."""
    return float(json.loads(reslab("eval", run.folder, "--split", role, "--json"))["top1_error"])


def link(folder: Path, files: Sequence[Path]) -> None:
    """A folder of links to files."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        if not (folder / file.name).exists():
            (folder / file.name).symlink_to(file.resolve())


def classes_of(cifar: Path) -> tuple[list[str], list[str]]:
    """Those that are learned first, and the others."""
    names = sorted(folder.name for folder in (cifar / "train").iterdir())
    return names[:PRETRAINED_CLASSES], names[PRETRAINED_CLASSES:]


def pretrain(asked: argparse.Namespace) -> None:
    for role in ("train", "test"):
        for name in classes_of(asked.cifar)[0]:
            link(asked.work / "seven" / role / name, sorted((asked.cifar / role / name).iterdir()))
    run = trained(
        asked.work / "pretrained", "--data", asked.work / "seven", "--recipe", "photos", "--epochs", "3", *SIZE
    )
    print(f"test error {error_of(run, 'test'):.2f} %")


def few_images(asked: argparse.Namespace, seed: int) -> Path:
    """50 images of each of the other classes, other ones for each seed, and all of their test images."""
    folder: Path = asked.work / f"few-seed{seed}"
    for name in classes_of(asked.cifar)[1]:
        files = sorted((asked.cifar / "train" / name).iterdir())
        chosen = np.random.default_rng(seed).choice(len(files), FEW, replace=False)
        link(folder / "train" / name, [files[index] for index in sorted(chosen)])
        link(folder / "test" / name, sorted((asked.cifar / "test" / name).iterdir()))
    return folder


def interval(gains: Sequence[float]) -> list[float]:
    """95 % interval of the mean gain over the seeds, by Student's t."""
    half = stats.t.ppf(0.975, len(gains) - 1) * stdev(gains) / len(gains) ** 0.5
    return [mean(gains) - half, mean(gains) + half]


def few(asked: argparse.Namespace) -> dict[str, Any]:
    pretrained = Run(asked.work / "pretrained")
    subjects = {
        f"{len(classes_of(asked.cifar)[1])} classes of CIFAR-10, {FEW} images each": (few_images, "test", ()),
        "ants and bees": (
            lambda asked, seed: asked.photos,
            "val",
            ("--monitoring.weights", "last", "--monitoring.patience", "0"),
        ),
    }
    rows = []
    for subject, (folder, role, flags) in subjects.items():
        errors: dict[str, list[float]] = {"weights": [], "scratch": []}
        for seed in SEEDS:
            data = folder(asked, seed)
            for arm, begins in (("weights", ("--weights", pretrained.folder)), ("scratch", ("--train-size", "64"))):
                run = asked.work / f"{subject.replace(' ', '-').replace(',', '')}-{arm}-seed{seed}"
                words = ("--data", data, "--recipe", "fine-tune", "--seed", str(seed), *begins, *flags, *asked.flags)
                errors[arm].append(error_of(trained(run, *words), role))
        gains = [b - a for a, b in zip(errors["weights"], errors["scratch"], strict=True)]
        rows.append(
            {"data": subject, "split": role, "errors": errors, "gain": mean(gains), "interval": interval(gains)}
        )
    recipe = Run(run).record["recipe"]
    settings = {
        "net": NET,
        "pretrained": {"recipe": pretrained.record["recipe"], "test_error": error_of(pretrained, "test")},
        "recipe": recipe,
        "seeds": list(SEEDS),
    }
    return make_record("transfer", settings, rows)


def thousand_photos(asked: argparse.Namespace) -> Path:
    """1,000 photos in class folders: the folder's own of all roles, and crops of them."""
    folder: Path = asked.work / "thousand"
    generator = np.random.default_rng(0)
    names = sorted(path.name for path in (asked.photos / "train").iterdir() if path.is_dir())
    for name in names:
        own = [path for role in ("train", "val") for path in sorted((asked.photos / role / name).iterdir())]
        own = [path for path in own if path.suffix.lower() in (".jpg", ".jpeg")]
        link(folder / name, own)
        for number in range(THOUSAND // len(names) - len(own)):
            target = folder / name / f"crop-{number:03}.jpg"
            with Image.open(own[number % len(own)]) as image:
                width, height = image.size
                left, top = generator.integers(0, (width // 8 + 1, height // 8 + 1))
                crop = image.convert("RGB").crop((left, top, left + width * 7 // 8, top + height * 7 // 8))
            if not target.exists():
                crop.save(target, quality=90)
    return folder


def thousand(asked: argparse.Namespace) -> dict[str, Any]:
    data, pretrained = thousand_photos(asked), asked.work / "pretrained"
    arms = {"all layers": (), "head alone": ("--fine-tuning.head-first", "299 iterations")}
    rows = []
    for arm, flags in arms.items():
        errors, minutes, epochs, num_images = [], [], [], 0
        for seed in SEEDS:
            run, start = asked.work / f"thousand-{arm.replace(' ', '-')}-seed{seed}", time.monotonic()
            if Run(run).finished:
                raise SystemExit(f"{run} is there already, and its time is not known; remove it.")
            words = ("--data", data, "--weights", pretrained, "--recipe", "fine-tune", "--train-size", "128")
            done = trained(run, *words, "--iterations", "300", "--seed", str(seed), *flags)
            reslab("report", run)
            minutes.append((time.monotonic() - start) / 60)
            figures = done.figures()
            errors.append(figures["val_error"])
            num_images = done.record["data"]["splits"]["train"]["num_images"]
            epochs.append(figures.get("stopped_at", 300) * done.record["recipe"]["data"]["batch_size"] / num_images)
        rows.append({"arm": arm, "errors": errors, "minutes": minutes, "epochs": epochs, "train_images": num_images})
    gains = [b - a for a, b in zip(rows[0]["errors"], rows[1]["errors"], strict=True)]
    record = Run(run).record
    settings = {
        "net": NET,
        "recipe": record["recipe"],
        "execution": record["execution"],
        "val_images": record["data"]["splits"]["val"]["num_images"],
        "gain_over_head_alone": {"mean": mean(gains), "interval": interval(gains)},
        "seeds": list(SEEDS),
    }
    return make_record("fine-tuning-time", settings, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("pretrain", "few", "thousand"))
    parser.add_argument("--cifar", type=Path, help="folder of CIFAR-10 as JPEG files, with train/ and test/")
    parser.add_argument("--photos", type=Path, help="folder of photos, with train/ and val/")
    parser.add_argument("--work", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=(), help="of the trainings of few, last of all")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the records")
    asked = parser.parse_args()
    asked.work = asked.work.resolve()
    if asked.part == "pretrain":
        pretrain(asked)
        return
    record = few(asked) if asked.part == "few" else thousand(asked)
    write_json(asked.out / f"{record['benchmark']}.json", record)
    made = make_table(record)
    print_table(made.headings, made.rows)
    print(made.note)


if __name__ == "__main__":
    main()
