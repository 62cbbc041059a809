"""The project's aims for speed, memory and accuracy, and what has been reached of them.

    python benchmarks/aims.py --show                                what the records in results/ say
    python benchmarks/aims.py --cifar FOLDER --photos FOLDER        measure everything, and record it
    python benchmarks/aims.py training_speed --cifar FOLDER         measure one

The folders are class folders of images: --cifar CIFAR-10's (train/<class>/*), --photos some hundred photos of any size.
Every measurement is one `reslab bench` command, which is printed, and wants a machine that does nothing else meanwhile.
Accuracies come from trainings and quantisations that are recorded elsewhere.
"""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from reslab.errors import ReslabError
from reslab.files.records import read_record

EQUAL = 0.98
"""Of a peer's speed: less than two percent apart, turns of the same work differ by as much."""

RESULTS = Path(__file__).resolve().parents[1] / "results"
Record = dict[str, Any]


@dataclass(frozen=True)
class Aim:
    """A row of the table.

    Args:
        work: what is done.
        compared: with what, or in what unit.
        record: under results/, without .json; its last part is the measurement's name.
        aim: that the project has set itself.
        measured: finds the figure in the record; None where it does not have it.
        goal: further than the aim; None if there is none.
        at_most: whether less is better.
        form: of the figures.
    """

    work: str
    compared: str
    record: str
    aim: float
    measured: Callable[[Record], float | None]
    goal: float | None = None
    at_most: bool = False
    form: str = "{:.2f}"

    def reached(self, figure: float) -> bool:
        return figure <= self.aim if self.at_most else figure >= self.aim

    def share(self, figure: float) -> float:
        """How much of the aim is reached; 1 and more if all of it is."""
        if not self.at_most:
            return figure / self.aim
        return self.aim / figure if figure > 0 else inf  # an error that fell where it might have risen


@dataclass(frozen=True)
class Row:
    """An aim, and what the record says."""

    aim: Aim
    figure: float | None

    @property
    def texts(self) -> tuple[str, ...]:
        """Work, comparison, aim, goal, measured, and whether it is reached."""
        aim, sign = self.aim, "≤ " if self.aim.at_most else ""
        goal = "" if aim.goal is None else sign + aim.form.format(aim.goal)
        head = (aim.work, aim.compared, sign + aim.form.format(aim.aim), goal)
        if self.figure is None:
            return (*head, "not recorded", "")
        return (*head, aim.form.format(self.figure), "yes" if aim.reached(self.figure) else "no")


HEADINGS = ("work", "compared with", "aim", "goal", "measured", "reached")


# Where figures stand in records


def row_of(record: Record, model: str) -> Record | None:
    return next((row for row in record["rows"] if row["model"] == model), None)


def ratio_to(peer: str, model: str) -> Callable[[Record], float | None]:
    """Training: ours to one peer."""

    def find(record: Record) -> float | None:
        row = row_of(record, model)
        return row["ratios"][peer]["median"] if row and peer in row["ratios"] else None

    return find


def share_of_peak(model: str) -> Callable[[Record], float | None]:
    """Training: in percent."""

    def find(record: Record) -> float | None:
        row = row_of(record, model)
        return row and 100 * row["share_of_peak"]

    return find


def ours_to_best_peer(batch_size: int, name: str) -> Callable[[Record], float | None]:
    """Inference: the best of ours whose name begins so, to the fastest peer in fp32."""

    def find(record: Record) -> float | None:
        row = next(row for row in record["rows"] if row["batch_size"] == batch_size)
        precision = "int8" if name.endswith("int8") else "fp32"
        found = [
            contender["ratio"]["median"]
            for contender in row["contenders"]
            if contender["name"].startswith(name)
            and contender.get("ratio")
            and contender["details"]["precision"] == precision
        ]
        return max(found, default=None)

    return find


def pipeline(key: str) -> Callable[[Record], float | None]:
    """Image files to labels: `ratio` to the peer, `share_of_raw` in percent."""
    return lambda record: (100 if key == "share_of_raw" else 1) * float(record["rows"][0][key]["median"])


def peak_gib(record: Record) -> float | None:
    """Memory: of the training that keeps to a limit."""
    return next(
        (
            item["details"]["peak_bytes"] / 2**30
            for item in record["rows"][0]["contenders"]
            if item["name"] == "planned"
        ),
        None,
    )


def time_ratio(record: Record) -> float | None:
    """Memory: time an image, to that of the training that keeps every activation."""
    found = record["rows"][0]["time_ratios"].get("planned")
    return found and found["median"]


def int8_error(model: str) -> Callable[[Record], float | None]:
    """Quantisation: a rise of the top-1 error, in points; rows have `model`, `float32_error` and `int8_error`."""

    def find(record: Record) -> float | None:
        row = row_of(record, model)
        return row and row["int8_error"] - row["float32_error"]

    return find


def accuracy_within(minutes: float, test: str = "test_error") -> Callable[[Record], float | None]:
    """Trainings: mean test accuracy, in percent, of the most iterations that take no more, with three seeds or more."""

    def find(record: Record) -> float | None:
        within = [row for row in record["rows"] if row["minutes"] <= minutes and len(row["seed"]) >= 3]
        return 100 - mean(max(within, key=lambda row: row["iterations"])[test]) if within else None

    return find


def minutes_of(iterations: int) -> Callable[[Record], float | None]:
    """Trainings: of so many iterations, with three seeds or more."""

    def find(record: Record) -> float | None:
        found = (row["minutes"] for row in record["rows"] if row["iterations"] == iterations and len(row["seed"]) >= 3)
        return next(found, None)

    return find


def demo_ratio(record: Record) -> float:
    """The demo: time before the kernels, to now."""
    return median(record["settings"]["ratios"])


_LOOP = "eager NCHW, DataLoader, PIL"
_FAST = "fashion-mnist-fast/results"


@dataclass(frozen=True)
class _Times:
    """As fast as a peer at least, and better still."""

    aim: float
    goal: float


def _training(work: str, record: str, model: str, peer: str, fp32: _Times, bf16: _Times) -> tuple[Aim, ...]:
    """Times a peer in fp32 and in bf16, and the part of the processor's peak that all multiply-adds would take."""
    against = _LOOP if peer == "eager-nchw" else "torchvision's reference loop"
    return (
        Aim(work, against, f"bench/{record}", fp32.aim, ratio_to(peer, model), fp32.goal),
        Aim("", "% of the fp32 peak", f"bench/{record}", 60, share_of_peak(model), form="{:.0f}"),
        Aim("", f"{against}; ours in bf16", f"bench/{record}-bf16", bf16.aim, ratio_to(peer, model), bf16.goal),
    )


AIMS = (
    *_training("ResNet-20, training", "training_speed", "resnet20", "eager-nchw", _Times(2.5, 3.3), _Times(3.3, 4.0)),
    Aim("", f"{_LOOP}; AVX2 alone", "bench/training_speed-avx2", 2.3, ratio_to("eager-nchw", "resnet20"), 2.8),
    *_training("ResNet-56, training", "training_speed", "resnet56", "eager-nchw", _Times(2.3, 2.8), _Times(3.2, 4.0)),
    *_training("ResNet-110, training", "training_speed", "resnet110", "eager-nchw", _Times(2.3, 2.8), _Times(3.2, 4.0)),
    *_training(
        *("ResNet-50 at 224, training, batch 16", "training-resnet50", "resnet50", "torchvision"),
        *(_Times(1.7, 2.0), _Times(1.7, 2.0)),
    ),
    Aim(
        *("ResNet-34 at 32, training, batch 128", "torchvision's reference loop", "bench/training-32px", 1.7),
        *(ratio_to("torchvision", "resnet34"), 2.0),
    ),
    Aim(
        "ResNet-50, fp32 inference, batch 16",
        "best of ONNX Runtime, OpenVINO, torch",
        "bench/inference-resnet50",
        EQUAL,
        ours_to_best_peer(16, "reslab"),
        goal=1.0,
    ),
    Aim("", "the same at batch 1", "bench/inference-resnet50", EQUAL, ours_to_best_peer(1, "reslab"), goal=1.0),
    Aim(
        "ResNet-50, fp32, JPEG files to labels",
        "% of the raw rate",
        "bench/pipeline-resnet50",
        95,
        pipeline("share_of_raw"),
        form="{:.0f}",
    ),
    Aim(
        "ResNet-50, int8, OpenVINO, batch 16",
        "best fp32 peer",
        "bench/inference-resnet50",
        3.5,
        ours_to_best_peer(16, "reslab-openvino-int8"),
    ),
    Aim(
        "ResNet-50, int8, ONNX Runtime, batch 16",
        "best fp32 peer",
        "bench/inference-resnet50",
        3.0,
        ours_to_best_peer(16, "reslab-onnxruntime-int8"),
    ),
    Aim(
        "ResNet-50, int8, JPEG files to labels",
        "DataLoader, PIL, the same int8 file",
        "bench/pipeline-resnet50-int8",
        1.3,
        pipeline("ratio"),
    ),
    Aim(
        "ResNet-20, int8", "points of error over fp32", "bench/int8-accuracy", 0.5, int8_error("resnet20"), at_most=True
    ),
    Aim(
        "ResNet-18 with CIFAR stem, int8",
        "points of error over fp32",
        "bench/int8-accuracy",
        0.5,
        int8_error("resnet18[stem=cifar]"),
        at_most=True,
    ),
    Aim("ResNet-1202, training, batch 128", "peak, GiB", "bench/memory-resnet1202", 2.0, peak_gib, at_most=True),
    Aim("", "time, to all activations kept", "bench/memory-resnet1202", 1.4, time_ratio, at_most=True),
    Aim("make demo", "before Winograd's convolutions", "bench/demo", 1.25, demo_ratio, 1.6),
    *(
        Aim(work, f"minutes, {processor}", record, 9.0, minutes_of(9000), 7.0, form="{:.1f}", at_most=True)
        for work, processor, record in (
            ("Fashion-MNIST, recipe fast, 9,000 iterations", "AMD EPYC (Zen 5)", "fashion-mnist-zen5/results"),
            ("", "Intel Xeon (AMX)", "fashion-mnist-amx/results"),
        )
    ),
    Aim("Fashion-MNIST in 15 min", "% accuracy, 3 seeds", _FAST, 94.3, accuracy_within(15)),
    Aim("", "the same in nine views", _FAST, 94.3, accuracy_within(15, "test_error_shifted")),
    Aim("Fashion-MNIST in 50 min", "% accuracy, 3 seeds", _FAST, 94.9, accuracy_within(50)),
    Aim("", "the same in nine views", _FAST, 94.9, accuracy_within(50, "test_error_shifted")),
)


# Measuring


@dataclass(frozen=True)
class Inputs:
    """What measurements need that is not in the repository; None where it was not given."""

    cifar: Path | None
    photos: Path | None
    fp32_file: Path | None
    int8_file: Path | None


_RESNET50 = (
    *("training", "resnet50", "--input-size", "224", "--batch-size", "16"),
    *("--turns", "3", "--steps", "3", "--peers", "torchvision", "timm"),
)
MEASUREMENTS: dict[str, Callable[[Inputs], Sequence[object]]] = {
    "training_speed": lambda inputs: (
        *("training", "resnet20", "resnet56", "resnet110", "--data", inputs.cifar, "--steps", "10"),
        *("--peers", "eager-nchw"),
    ),
    "training_speed-avx2": lambda inputs: (
        *("training", "resnet20", "resnet56", "--data", inputs.cifar, "--steps", "10", "--peers", "eager-nchw"),
    ),
    "training_speed-bf16": lambda inputs: (
        *("training", "resnet20", "resnet56", "resnet110", "--data", inputs.cifar, "--steps", "10"),
        *("--peers", "eager-nchw", "--hardware.precision", "bf16"),
    ),
    "training-resnet50": lambda inputs: (*_RESNET50, "--data", inputs.photos),
    "training-resnet50-bf16": lambda inputs: (*_RESNET50, "--data", inputs.photos, "--hardware.precision", "bf16"),
    "training-32px": lambda inputs: (
        *("training", "resnet18", "resnet34", "--data", inputs.cifar, "--input-size", "32", "--batch-size", "128"),
        *("--peers", "eager-nchw", "torchvision", "timm", "--turns", "3", "--steps", "8"),
    ),
    "profile-training": lambda inputs: (*("profile", "resnet20", "resnet56", "resnet110", "--data", inputs.cifar),),
    "profile-resnet50": lambda inputs: (
        *("profile", "resnet50", "--data", inputs.photos, "--input-size", "224", "--batch-size", "16"),
        *("--turns", "2", "--steps", "4", "--peers", "torchvision"),
    ),
    "inference-resnet50": lambda inputs: ("inference", "resnet50", "--batch-size", "1", "16"),
    "pipeline-resnet50": lambda inputs: ("pipeline", inputs.fp32_file, inputs.photos),
    "pipeline-resnet50-int8": lambda inputs: ("pipeline", inputs.int8_file, inputs.photos),
    # What keeps everything takes 13 GB at 128 images; time is compared for each image.
    "memory-resnet1202": lambda inputs: (
        *("memory", "resnet1202", "--batch-size", "128", "--kept-batch-size", "32", "--memory", "2GiB"),
        *("--hardware.compile", "off", "--turns", "3", "--steps", "1"),
    ),
}


# As torch and oneDNN compute on a processor that has nothing more.
AVX2_ALONE = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


def measure(name: str, inputs: Inputs) -> bool:
    """Runs a `reslab bench` command; returns whether there is a record afterwards."""
    arguments = MEASUREMENTS[name](inputs)
    if None in arguments:
        print(f"{name}: left out, since the folder or file that it needs was not given", file=sys.stderr)
        return False
    command = ["bench", *map(str, arguments), "--out", str(RESULTS / "bench" / f"{name}.json")]
    print(f"reslab {shlex.join(command)}", file=sys.stderr, flush=True)
    environment = {**os.environ, **(AVX2_ALONE if name.endswith("-avx2") else {})}
    return subprocess.run([sys.executable, "-m", "reslab", *command], check=False, env=environment).returncode == 0


# Showing


def rows() -> list[Row]:
    """Every aim with the record's figure."""
    found = []
    for aim in AIMS:
        path = RESULTS / f"{aim.record}.json"
        record = None
        if path.exists():
            record = read_record(path, schema_version=None, error=ReslabError, if_missing="")
        found.append(Row(aim, aim.measured(record) if record else None))
    return found


def show() -> None:
    table = Table(*HEADINGS, box=None)
    for row in rows():
        table.add_row(*row.texts)
    Console(markup=False, highlight=False, width=140).print(table)


_ROW, _LEFT, _WIDTH = 22, 560, 330  # pixels: height of a row, space for its text, length of the whole aim
_MOST = 1.5  # of the aim, where a bar ends


def chart(rows: Sequence[Row]) -> str:
    """What is measured as a share of its aim, as SVG; written by hand, so that it is the same with any version."""
    measured = [row for row in rows if row.figure is not None]
    height = _ROW * (len(measured) + 2)
    aim_x = _LEFT + _WIDTH
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + round(_MOST * _WIDTH) + 60}" height="{height}" '
        'font-family="sans-serif" font-size="12" role="img" aria-label="Measured figures as shares of their aims">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    work = ""
    for index, row in enumerate(measured):
        assert row.figure is not None
        aim, y = row.aim, _ROW * (index + 1)
        work = aim.work or work
        length = min(aim.share(row.figure), _MOST) * _WIDTH
        color = "#2a7f4f" if aim.reached(row.figure) else "#c77d2a"
        sign = "≤ " if aim.at_most else ""
        label = f"{aim.form.format(row.figure)} of {sign}{aim.form.format(aim.aim)}"
        lines += [
            f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{_escaped(f"{work}: {aim.compared}")}</text>',
            f'<rect x="{_LEFT}" y="{y + 3}" width="{length:.0f}" height="{_ROW - 6}" fill="{color}"/>',
            f'<text x="{_LEFT + 6}" y="{y + 15}" fill="white">{label}</text>',
        ]
    lines += [
        f'<path d="M{aim_x} {_ROW - 4}V{height - _ROW + 4}" stroke="black" stroke-dasharray="4 3"/>',
        f'<text x="{aim_x}" y="{_ROW - 8}" text-anchor="middle">aim</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="MEASUREMENT", help=f"of {', '.join(MEASUREMENTS)}; all by default")
    parser.add_argument("--show", action="store_true", help="measure nothing, and show what is recorded")
    parser.add_argument("--cifar", type=Path, help="class folders of CIFAR-10's images, under train/")
    parser.add_argument("--photos", type=Path, help="class folders of photos")
    parser.add_argument("--fp32-file", type=Path, help="ResNet-50 from `reslab export`, for pixels")
    parser.add_argument("--int8-file", type=Path, help="ResNet-50 from `reslab quantize`")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(MEASUREMENTS):
        parser.error(f"there is no measurement {unknown.pop()!r}; there are {', '.join(MEASUREMENTS)}")
    inputs = Inputs(asked.cifar, asked.photos, asked.fp32_file, asked.int8_file)
    done = [True] if asked.show else [measure(name, inputs) for name in asked.names or MEASUREMENTS]
    show()
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
