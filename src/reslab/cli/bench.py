"""`reslab bench`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reslab.bench import contests
from reslab.cli.command import Command
from reslab.cli.forms import form_of
from reslab.cli.output import output_console, print_json, print_table
from reslab.errors import ReslabError
from reslab.fields import knob
from reslab.streams import say

INTRO = """Measure speed and memory on this machine, ours and others' by turns, in figures that can be compared.

  reslab bench rates                                 what the machine reaches: matrix products, copies
  reslab bench training resnet20                     training steps on generated images
  reslab bench training resnet56 --data photos/      from image files to updated weights
  reslab bench profile resnet20                      where a training step's time goes
  reslab bench inference resnet50 --batch-size 1 16  a network at work, by every engine that is installed
  reslab bench pipeline model.onnx photos/           from JPEG files to labels
  reslab bench memory resnet1202 --memory 2GiB       the peak of a training process

Every contender is a process of its own. They take turns (A B C, A B C), one working while the others wait, so that all
meet the same moods of the machine; what is shown are medians over the turns, with the lowest and the highest. Other
programs should rest meanwhile."""


@dataclass(frozen=True, kw_only=True)
class RecordArguments:
    """What every benchmark is asked for besides what its function takes."""

    json: bool = knob(False, "Print the record as JSON.")
    out: Path | None = knob(None, "File for the record: every turn, settings, versions, processor.")


def run(contest: Callable[..., dict[str, Any]], asked: Any) -> int:
    """Runs a benchmark, and shows its record."""
    given = {name: value for name, value in vars(asked).items() if name not in ("json", "out")}
    for name in ("models", "subjects"):
        if name in given and not given[name]:
            raise ReslabError("which network? Give a name, as in resnet20; `reslab models` lists them.")
    with _telling() as tell:
        record = contest(**given, tell=tell)
    from reslab.bench.tables import make_table
    from reslab.files.atomic import write_json

    if asked.out:
        write_json(asked.out, record)
    if asked.json:
        print_json(record)
        return 0
    made = make_table(record)
    print_table(made.headings, made.rows)
    output_console().print(made.note, soft_wrap=True, highlight=False)
    if asked.out:
        print(asked.out)
    return 0


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """Progress on stderr: one line that changes in a terminal, and one line each elsewhere."""
    from reslab.console import error_console

    console = error_console(markup=False)
    if not console.is_terminal:
        yield say
        return
    with console.status("") as status:
        yield lambda text: status.update(text)


COMMANDS = {
    "rates": Command(
        form_of(contests.bench_rates, RecordArguments, rates="RATE"),
        "what this machine reaches: its arithmetic, matrix products in several number formats, and copies",
        "  reslab bench rates fma fp32 copy",
        partial(run, contests.bench_rates),
    ),
    "training": Command(
        form_of(contests.bench_training, RecordArguments, models="MODEL"),
        "training steps, from images to updated weights, against the loops that most people write",
        """\
  reslab bench training resnet20 resnet56 --data photos/ --turns 3
  reslab bench training resnet50 --data photos/ --input-size 224 --batch-size 16 --steps 4

Ours is what `reslab train` does. The peers have a DataLoader of two workers with PIL transforms, and torch's SGD:
eager-nchw trains the same network, eager-channels-last and compiled as they say; torchvision and timm their own.""",
        partial(run, contests.bench_training),
    ),
    "profile": Command(
        form_of(contests.bench_profile, RecordArguments, contests.bench_training, models="MODEL"),
        "where a training step's time goes, and what is the least that its convolutions could take",
        """\
  reslab bench profile resnet20 resnet56
  reslab bench profile resnet50 --data photos/ --input-size 224 --batch-size 16 --peers torchvision

Contenders are those of `reslab bench training`, none of them compiled. After their turns each takes some steps under
torch's profiler, which makes them slightly slower.""",
        partial(run, contests.bench_profile),
    ),
    "inference": Command(
        form_of(contests.bench_inference, RecordArguments, subjects="MODEL|FILE"),
        "networks at work, images in and logits out, by every engine that is installed",
        """\
  reslab bench inference resnet50                                  the engines against each other
  reslab bench inference resnet50.onnx resnet50-int8.xml           files of ours against them
  reslab bench inference resnet20 --batch-size 128 --engines torch-compiled onnxruntime

Networks get fresh weights, on which speed does not depend. torchvision's networks are torchvision's own.""",
        partial(run, contests.bench_inference),
    ),
    "pipeline": Command(
        form_of(contests.bench_pipeline, RecordArguments, file="FILE", folder="FOLDER"),
        "the way from image files to labels: ours, that of most people, and how fast it can be",
        """\
  reslab bench pipeline resnet50-int8.xml photos/ --batch-size 16

Ours is `reslab predict`. The peer is a DataLoader of two workers with PIL, Resize and CenterCrop, and the same file in
the same engine. Decoding and the network are measured alone too: from their rates comes the limit, what any pipeline of
them can reach on these cores.""",
        partial(run, contests.bench_pipeline),
    ),
    "memory": Command(
        form_of(contests.bench_memory, RecordArguments, model="MODEL"),
        "the peak memory of training, with and without gradient checkpointing, and what it costs",
        """\
  reslab bench memory resnet1202 --kept-batch-size 32 --memory 2GiB

Each contender trains in a fresh process on generated images; its peak is the whole process's. Times are compared for
each image.""",
        partial(run, contests.bench_memory),
    ),
}
