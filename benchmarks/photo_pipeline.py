"""Training on photographs and testing on them: how fast they are prepared, and what memory that takes.

    python benchmarks/photo_pipeline.py loading --photos FOLDER       decoding and augmenting, against torchvision's
    python benchmarks/photo_pipeline.py dense --photos FOLDER         dense testing, against crops of the same cost
    python benchmarks/photo_pipeline.py memory --images FOLDER        20 passes over a list of 200,000 files

FOLDER has class folders: for loading some hundred photos of any size, for memory small images such as CIFAR-10's, whose
files are linked to as often as it takes. Each prints its figures, and writes them to results/bench/. All but the memory
want a machine that does nothing else meanwhile.
"""

import argparse
import itertools
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reslab.analysis.complexity import count_macs
from reslab.bench.records import describe, find, make_record, ratios
from reslab.bench.tables import make_table
from reslab.bench.turns import Contender, Turns, Work, take_turns
from reslab.cli.output import print_table
from reslab.console import progress_bar
from reslab.data import load_data
from reslab.data.listing import list_folder
from reslab.data.normalization import Normalization
from reslab.data.photo_batches import PhotoBatches
from reslab.data.photo_transforms import PhotoTransform
from reslab.data.preprocessing import Preprocessing
from reslab.environment import available_cores, resident_bytes
from reslab.evaluation.dense import Dense
from reslab.evaluation.protocols import EvaluationProtocol, OneCrop, TenCrop
from reslab.evaluation.scoring import predict_split
from reslab.files.atomic import write_json
from reslab.models import create_model

RESULTS = Path(__file__).resolve().parents[1] / "results" / "bench"
SIZE = 224
VIEW = Preprocessing(height=SIZE, width=SIZE, channels=3, resize=256)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 20
DENSE_MODEL = "resnet18"
TRANSFORMS = {
    "area": PhotoTransform(crop="area"),
    "shorter-side": PhotoTransform(crop="shorter-side"),
}


# Loading: one thread each, from files to normalised float32


def ours(photos: Path, crop: str, folder: Path) -> Work:
    torch.set_num_threads(1)
    split = load_data(photos, kind="photos", view=VIEW).split("train")
    batches = PhotoBatches(split, Normalization.imagenet(), TRANSFORMS[crop], BATCH, 0, 10**9)
    iterations = itertools.count()
    return Work(lambda: batches.batch(next(iterations)), BATCH)


def torchvisions(photos: Path, crop: str, backend: str, folder: Path) -> Work:
    """The transforms of references/classification: of PIL images (v1), or of tensors (v2)."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    last = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    if backend == "pil":
        from torchvision import transforms as v1

        last = [v1.PILToTensor(), v1.ConvertImageDtype(torch.float32), v1.Normalize(MEAN, STD)]
    random_side = v2.RandomShortestSize(list(range(256, 481)), antialias=True)
    first: list[Any] = [v2.RandomResizedCrop(SIZE, antialias=True)]
    if crop == "shorter-side":
        first = [random_side, v2.RandomCrop(SIZE)]
    start = [v2.PILToTensor()] if backend == "tensor" else []
    dataset = ImageFolder(str(photos), v2.Compose([*start, *first, v2.RandomHorizontalFlip(), *last]))
    order = itertools.cycle(np.random.default_rng(0).permutation(len(dataset)).tolist())

    def step() -> None:
        torch.stack([dataset[next(order)][0] for _ in range(BATCH)])

    return Work(step, BATCH)


def measure_loading(asked: argparse.Namespace) -> dict[str, Any]:
    rows = []
    for crop in TRANSFORMS:
        contenders = [
            Contender("reslab", partial(ours, asked.photos, crop)),
            Contender("torchvision-pil", partial(torchvisions, asked.photos, crop, "pil")),
            Contender("torchvision-tensor", partial(torchvisions, asked.photos, crop, "tensor")),
        ]
        outcomes = take_turns(contenders, Turns(number=asked.turns, steps=5, seconds=2.0), tell=print)
        first, *peers = (find(outcomes, contender.name) for contender in contenders)
        rows.append(
            {
                "work": f"training crops, {crop}",
                "contenders": [describe(outcome) for outcome in outcomes],
                "ratios": {peer.name: ratios(first, peer) for peer in peers},
            }
        )
    return make_record(
        "photo-loading",
        {
            "size": SIZE,
            "batch_size": BATCH,
            "turns": asked.turns,
            "what": "one thread each, from files to normalised batches",
        },
        rows,
    )


# Dense testing: multiply-adds a second, of the whole path from files to scores


def tested(photos: Path, protocol: EvaluationProtocol, threads: int, folder: Path) -> Work:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = create_model(DENSE_MODEL).eval()
    split = load_data(photos, kind="photos", view=VIEW).split("train").subset(np.arange(3))
    macs = 0
    for index in range(len(split)):
        for views in protocol.views(split.image(index)):
            macs += len(views) * count_macs(model.spec, views.shape[1:3])
    details = {"threads": threads, "gmacs": macs / 1e9}
    return Work(lambda: predict_split(model, split, Normalization.imagenet(), protocol), macs / 1e9, details)


def measure_dense(asked: argparse.Namespace) -> dict[str, Any]:
    threads = available_cores()
    contenders = [
        Contender("dense", partial(tested, asked.photos, Dense(), threads)),
        Contender("ten-crop", partial(tested, asked.photos, TenCrop(), threads)),
        Contender("one-crop", partial(tested, asked.photos, OneCrop(VIEW), threads)),
    ]
    outcomes = take_turns(contenders, Turns(number=asked.turns, steps=1, seconds=2.0, untimed_steps=1), tell=print)
    first, *peers = (find(outcomes, contender.name) for contender in contenders)
    row = {
        "work": DENSE_MODEL,
        "contenders": [describe(outcome, "gmacs_per_second") for outcome in outcomes],
        "ratios": {peer.name: ratios(first, peer) for peer in peers},
    }
    return make_record(
        "photo-dense", {"photos": 3, "turns": asked.turns, "what": "from files to scores, all threads, 3 photos"}, [row]
    )


# Memory: two workers, many passes


def measure_memory(asked: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listing = list_folder(asked.images, "train")
        classes = listing.files["train"]
        copies = -(-asked.files // sum(map(len, classes)))
        for label, files in zip(listing.classes, classes, strict=True):
            for copy in range(copies):
                (folder / label / str(copy)).mkdir(parents=True)
                for path in files:
                    (folder / label / str(copy) / Path(path).name).symlink_to(Path(path).resolve())
        view = Preprocessing(height=32, width=32, channels=3, resize=32)
        split = load_data(folder, kind="photos", view=view).split("train").subset(np.arange(asked.files))
        transform = PhotoTransform(crop="area", train_size=32)
        per_pass = asked.files // 500
        batches = PhotoBatches(split, Normalization.imagenet(), transform, 500, 0, asked.passes * per_pass, workers=2)
        resident = []
        with progress_bar() as bar:
            task = bar.add_task("Passes", total=asked.passes)
            for number in range(asked.passes):
                for iteration in range(number * per_pass, (number + 1) * per_pass):
                    batches.batch(iteration)
                resident.append(resident_bytes() + sum(map(resident_of, children())))
                print(f"pass {number + 1:2}  {resident[-1] / 2**20:,.0f} MiB", flush=True)
                bar.advance(task)
        batches.close()
    settings = {"num_files": asked.files, "passes": asked.passes, "workers": 2, "size": 32}
    return make_record("photo-memory", settings, [{"resident_bytes": resident}])


def children() -> list[int]:
    return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split()]


def resident_of(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def show(record: dict[str, Any]) -> None:
    made = make_table(record)
    print_table(made.headings, made.rows)
    print(made.note)


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "loading": measure_loading,
    "dense": measure_dense,
    "memory": measure_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurement", choices=MEASUREMENTS)
    parser.add_argument("--photos", type=Path, help="class folders of photos")
    parser.add_argument("--images", type=Path, help="class folders of small images")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the records")
    asked = parser.parse_args()
    needed = "images" if asked.measurement == "memory" else "photos"
    if getattr(asked, needed) is None:
        parser.error(f"{asked.measurement} needs --{needed}")
    record = MEASUREMENTS[asked.measurement](asked)
    show(record)
    path = asked.out / f"photo-{asked.measurement}.json"
    write_json(path, record)
    print(path)


if __name__ == "__main__":
    main()
