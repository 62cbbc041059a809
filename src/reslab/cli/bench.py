"""`reslab bench`."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from reslab.bench.records import make_record
from reslab.bench.tables import make_table
from reslab.bench.turns import BenchmarkError, Turns
from reslab.cli.arguments import output_console, parse, print_json
from reslab.cli.bench_arguments import (
    BenchArguments,
    InferenceArguments,
    MemoryArguments,
    PipelineArguments,
    ProfileArguments,
    RatesArguments,
    TrainingArguments,
)
from reslab.environment import available_cores
from reslab.files.atomic import write_json
from reslab.models.zoo import parse_model
from reslab.training.recipe import Recipe
from reslab.training.recipe_files import load_recipe
from reslab.training.recipe_overrides import with_overrides

_HELP = """Measure speed and memory on this machine, ours and others' by turns, in figures that can be compared.

  reslab bench rates                                 what the machine reaches: matrix products, copies
  reslab bench training resnet20                     training steps on generated images
  reslab bench training resnet56 --data photos/      from image files to updated weights
  reslab bench profile resnet20                      where a training step's time goes
  reslab bench inference resnet50 --batch-size 1 16  a network at work, by every engine that is installed
  reslab bench pipeline model.onnx photos/           from JPEG files to labels
  reslab bench memory resnet1202 --memory 2GiB       the peak of a training process

Every contender is a process of its own. They take turns (A B C, A B C), one working while the others wait, so that all
meet the same moods of the machine; what is shown are medians over the turns, with the lowest and the highest. Other
programs should rest meanwhile. `reslab bench training --help` and the like tell more of each.
"""


def main(arguments: Sequence[str]) -> int:
    """Measures."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    commands = {
        "rates": _rates,
        "training": _training,
        "profile": _profile,
        "inference": _inference,
        "pipeline": _pipeline,
        "memory": _memory,
    }
    if arguments[0] not in commands:
        raise BenchmarkError(f"there is no command `reslab bench {arguments[0]}`; there are {', '.join(commands)}.")
    return commands[arguments[0]](arguments[1:])


def _rates(arguments: Sequence[str]) -> int:
    description = "Measure what this machine reaches: matrix products in several number formats, and copies."
    asked = parse(RatesArguments, arguments, "bench rates", description)
    _check_counts(threads=asked.threads)
    turns = Turns(asked.turns, 1, asked.seconds, untimed_steps=1)
    from reslab.bench.rates import measure_rates

    with _telling() as tell:
        row = measure_rates(asked.rates, turns, threads=asked.threads, tell=tell)
    return _finish("rates", {"turns": asked.turns, "seconds": asked.seconds}, [row], asked)


def _training(arguments: Sequence[str]) -> int:
    description = """Measure training steps, from images to updated weights, against the loops that most people write.

  reslab bench training resnet20 resnet56 --data photos/ --turns 3
  reslab bench training resnet50 --data photos/ --input-size 224 --batch-size 16 --steps 4

Ours is what `reslab train` does. The peers have a DataLoader of two workers with PIL transforms, and torch's SGD:
eager-nchw trains the same network, eager-channels-last and compiled as they say; torchvision and timm their own."""
    asked = parse(TrainingArguments, arguments, "bench training", description)
    return _compare_steps("training", asked, asked.set, 0)


def _profile(arguments: Sequence[str]) -> int:
    description = """Show where a training step's time goes, and what is the least that its convolutions could take.

  reslab bench profile resnet20 resnet56
  reslab bench profile resnet50 --data photos/ --input-size 224 --batch-size 16 --peers torchvision

Contenders are those of `reslab bench training`, none of them compiled. After their turns each takes some steps under
torch's profiler, which makes them slightly slower."""
    asked = parse(ProfileArguments, arguments, "bench profile", description)
    return _compare_steps("profile", asked, ("hardware.compile=off", *asked.set), asked.steps)


def _compare_steps(benchmark: str, asked: TrainingArguments, changes: Sequence[str], profiled_steps: int) -> int:
    recipe = _recipe(asked.recipe, changes, asked.batch_size)
    turns = Turns(asked.turns, asked.steps)
    from reslab.bench.training import TrainingTask, check_task, compare_training

    tasks = [TrainingTask(model, recipe, asked.data, asked.input_size) for model in _some(asked.models, benchmark)]
    for task in tasks:
        check_task(task)
    with _telling() as tell:
        rows = [compare_training(task, asked.peers, turns, profiled_steps=profiled_steps, tell=tell) for task in tasks]
    settings = {
        "data": tasks[0].data_name,
        "input_size": asked.input_size,
        "batch_size": recipe.data.batch_size,
        "recipe": recipe.name,
        "set": list(asked.set),
        "turns": asked.turns,
        "steps": asked.steps,
        "untimed_steps": turns.untimed_steps,
    }
    return _finish(benchmark, settings, rows, asked)


def _inference(arguments: Sequence[str]) -> int:
    description = """Measure networks at work, images in and logits out, by every engine that is installed.

  reslab bench inference resnet50                                  the engines against each other
  reslab bench inference resnet50.onnx resnet50-int8.xml           files of ours against them
  reslab bench inference resnet20 --batch-size 128 --engines torch-compiled onnxruntime

Networks get fresh weights, on which speed does not depend. torchvision's networks are torchvision's own."""
    asked = parse(InferenceArguments, arguments, "bench inference", description)
    subjects = _some(asked.subjects, "inference")
    turns = Turns(asked.turns, 3, asked.seconds, untimed_steps=2)
    for batch_size in asked.batch_size or (0,):
        _check_counts(batch_size=batch_size, threads=asked.threads, input_size=asked.input_size)
    files = tuple(Path(subject) for subject in subjects if Path(subject).suffix in (".onnx", ".xml"))
    if files and len(files) < len(subjects):
        raise BenchmarkError("give either networks' names or files: a file says itself which network it holds.")
    from reslab.bench.inference import InferenceTask, compare_inference, network_of_files

    names = [network_of_files(files)] if files else subjects
    threads = asked.threads or available_cores()
    tasks = []
    for name in names:
        spec = parse_model(name)
        side = asked.input_size or spec.usual_input_size
        tasks += [InferenceTask(spec, name, batch_size, side, files, threads) for batch_size in asked.batch_size]
    with _telling() as tell:
        rows = [compare_inference(task, asked.engines, turns, tell=tell) for task in tasks]
    settings = {"turns": asked.turns, "seconds": asked.seconds, "threads": threads}
    return _finish("inference", settings, rows, asked)


def _pipeline(arguments: Sequence[str]) -> int:
    description = """Measure the way from image files to labels: ours, that of most people, and how fast it can be.

  reslab bench pipeline resnet50-int8.xml photos/ --batch-size 16

Ours is `reslab predict`. The peer is a DataLoader of two workers with PIL, Resize and CenterCrop, and the same file in
the same engine. Decoding and the network are measured alone too: from their rates comes the limit, what any pipeline of
them can reach on these cores."""
    asked = parse(PipelineArguments, arguments, "bench pipeline", description)
    turns = Turns(asked.turns, asked.steps, untimed_steps=1)
    _check_counts(batch_size=asked.batch_size, threads=asked.threads)
    from reslab.bench.inference import network_of_files
    from reslab.bench.pipeline import PipelineTask, compare_pipelines

    network_of_files([asked.file])
    threads = asked.threads or available_cores()
    task = PipelineTask(asked.file, asked.folder, asked.batch_size, threads)
    with _telling() as tell:
        row = compare_pipelines(task, turns, tell=tell)
    settings = {
        "data": asked.folder.resolve().name,
        "batch_size": asked.batch_size,
        "threads": threads,
        "turns": asked.turns,
        "steps": asked.steps,
    }
    return _finish("pipeline", settings, [row], asked)


def _memory(arguments: Sequence[str]) -> int:
    description = """Measure the peak memory of training, with and without gradient checkpointing, and what it costs.

  reslab bench memory resnet1202 --kept-batch-size 32 --memory 2GiB

Each contender trains in a fresh process on generated images; its peak is the whole process's. Times are compared for
each image."""
    asked = parse(MemoryArguments, arguments, "bench memory", description)
    turns = Turns(asked.turns, asked.steps, untimed_steps=1)
    _check_counts(kept_batch_size=asked.kept_batch_size)
    recipe = _recipe(asked.recipe, asked.set, asked.batch_size)
    limited = None
    if asked.memory:
        limited = replace(recipe, hardware=replace(recipe.hardware, memory=asked.memory))
    from reslab.bench.memory import compare_memory
    from reslab.bench.training import TrainingTask

    task = TrainingTask(asked.model, recipe, None, asked.input_size)
    planned = replace(task, recipe=limited) if limited else None
    with _telling() as tell:
        row = compare_memory(task, planned, turns, kept_batch_size=asked.kept_batch_size, tell=tell)
    settings = {
        "batch_size": recipe.data.batch_size,
        "kept_batch_size": asked.kept_batch_size or recipe.data.batch_size,
        "memory": asked.memory,
        "recipe": recipe.name,
        "set": list(asked.set),
        "turns": asked.turns,
        "steps": asked.steps,
    }
    return _finish("memory", settings, [row], asked)


# What they share


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and not 1 <= value <= 1 << 16:
            raise BenchmarkError(f"--{name.replace('_', '-')} must be between 1 and {1 << 16:,}, not {value}.")


def _some(models: tuple[str, ...], command: str) -> tuple[str, ...]:
    if not models:
        raise BenchmarkError(
            f"which network? Give a name, as in `reslab bench {command} resnet20`; `reslab models` lists them."
        )
    return models


def _recipe(name: str, changes: Sequence[str], batch_size: int | None) -> Recipe:
    """A recipe with fields changed."""
    fields = {}
    for change in changes:
        field_name, sign, text = change.partition("=")
        if not (sign and field_name and text):
            raise BenchmarkError(f"cannot read --set {change!r}: write FIELD=VALUE, as in hardware.compile=off.")
        fields[field_name] = text
    recipe = with_overrides(load_recipe(name), fields)
    if batch_size is None:
        return recipe
    return replace(recipe, data=replace(recipe.data, batch_size=batch_size))


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """Progress on stderr: one line that changes in a terminal, and one line each elsewhere."""
    console = Console(stderr=True, markup=False, highlight=False)
    if not console.is_terminal:
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    with console.status("") as status:
        yield lambda text: status.update(text)


def _finish(benchmark: str, settings: dict[str, Any], rows: list[dict[str, Any]], asked: BenchArguments) -> int:
    record = make_record(benchmark, settings, rows)
    if asked.out:
        write_json(asked.out, record)
    if asked.json:
        print_json(record)
        return 0
    made = make_table(record)
    table = Table(*made.headings, box=None)
    for row in made.rows:
        table.add_row(*row)
    console = output_console()
    console.print(table)
    console.print(made.note, soft_wrap=True, highlight=False)
    if asked.out:
        print(asked.out)
    return 0
