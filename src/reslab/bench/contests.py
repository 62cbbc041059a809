"""The benchmarks as functions, from what is asked to a record. Importing this module imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reslab.environment import available_cores
from reslab.errors import ReslabError

if TYPE_CHECKING:
    from reslab.training.recipe import Recipe

__all__ = [
    "INFERENCE_ENGINES",
    "TRAINING_PEERS",
    "bench_inference",
    "bench_memory",
    "bench_pipeline",
    "bench_profile",
    "bench_rates",
    "bench_training",
]

Tell = Callable[[str], None]

TRAINING_PEERS = ("eager-nchw", "torchvision", "timm")
INFERENCE_ENGINES = (
    *("reslab-onnxruntime", "reslab-openvino", "reslab-onnxruntime-int8", "reslab-openvino-int8"),
    *("torch-eager", "torch-channels-last", "torch-compiled", "timm", "onnxruntime", "openvino", "openvino-default"),
)
_FILES = (".onnx", ".xml")


def bench_rates(
    rates: Sequence[str] = (), *, threads: int | None = None, turns: int = 5, seconds: float = 1.0, tell: Tell = print
) -> dict[str, Any]:
    """What the machine reaches: the record of its arithmetic, matrix products and copies.

    Args:
        rates: fma, fma-avx2, fma-bf16 (arithmetic in registers), fp32, bf16, int8 (products of 2048-wide matrices) or
            copy (of memory); all by default.
        threads: threads; by default one a core.
        turns: turns of each contender.
        seconds: seconds of a turn.
        tell: is told what is being done.

    Raises:
        ReslabError: an unknown rate.
    """
    from reslab.bench.rates import measure_rates
    from reslab.bench.records import make_record
    from reslab.bench.turns import Turns

    row = measure_rates(tuple(rates), Turns(turns, 1, seconds, untimed_steps=1), threads=threads, tell=tell)
    return make_record("rates", {"turns": turns, "seconds": seconds}, [row])


def bench_training(
    models: Sequence[str],
    *,
    data: str | None = None,
    input_size: int | None = None,
    batch_size: int | None = None,
    recipe: str = "cifar-paper",
    fields: Mapping[str, str] | None = None,
    peers: Sequence[str] = TRAINING_PEERS,
    turns: int = 5,
    steps: int = 15,
    profiled_steps: int = 0,
    tell: Tell = print,
) -> dict[str, Any]:  # each is a setting of the record
    """Training steps against the loops that most people write: the record.

    Args:
        models: names or spellings, as in resnet20 or resnet20[shortcut=C].
        data: name of a data set, or a folder of class folders; by default generated images.
        input_size: side of generated images. With a folder, its photos may then have any size: ours are kept in
            memory, resized and cropped, and the peers cut random crops out of the files.
        batch_size: images a step; the recipe's by default.
        recipe: name of a recipe, or a TOML file.
        fields: fields of the recipe, by their paths, as texts.
        peers: names of peers: eager-nchw, eager-channels-last, compiled, torchvision, timm; the last two where they
            have the network.
        turns: turns of each contender.
        steps: steps of a turn, after 5 that are not timed.
        profiled_steps: under torch's profiler, after the turns.
        tell: is told what is being done.

    Raises:
        ReslabError: a bad argument, or a contender that fails.
    """
    from reslab.bench.records import make_record
    from reslab.bench.training import compare_training
    from reslab.bench.training_task import TrainingTask, check_task
    from reslab.bench.turns import Turns

    changes = {**({"hardware.compile": "off"} if profiled_steps else {}), **(fields or {})}
    chosen, counted = _recipe(recipe, changes, batch_size), Turns(turns, steps)
    tasks = [TrainingTask(model, chosen, data, input_size) for model in models]
    for task in tasks:
        check_task(task)
    rows = [compare_training(task, tuple(peers), counted, profiled_steps=profiled_steps, tell=tell) for task in tasks]
    settings = {
        "data": tasks[0].data_name,
        "input_size": input_size,
        "batch_size": chosen.data.batch_size,
        "recipe": chosen.name,
        "set": _listed(changes),
        "turns": turns,
        "steps": steps,
        "untimed_steps": counted.untimed_steps,
    }
    return make_record("profile" if profiled_steps else "training", settings, rows)


def bench_profile(
    models: Sequence[str],
    *,
    peers: Sequence[str] = ("eager-nchw",),
    turns: int = 3,
    steps: int = 8,
    **options: Any,
) -> dict[str, Any]:
    """Where a training step's time goes: the record.

    Args:
        models: names or spellings, as in resnet20 or resnet20[shortcut=C].
        peers: names of peers: eager-nchw, eager-channels-last, torchvision, timm; the last two where they have the
            network.
        turns: turns of each contender.
        steps: steps of a turn, after 5 that are not timed; and of the profile.
        **options: of `bench_training`.
    """
    return bench_training(models, peers=peers, turns=turns, steps=steps, profiled_steps=steps, **options)


def bench_inference(
    subjects: Sequence[str],
    *,
    batch_size: Sequence[int] = (1, 16),
    input_size: int | None = None,
    engines: Sequence[str] = INFERENCE_ENGINES,
    threads: int | None = None,
    turns: int = 5,
    seconds: float = 3.0,
    tell: Tell = print,
) -> dict[str, Any]:  # each is a setting of the record
    """Networks at work, images in and logits out: the record.

    Args:
        subjects: networks by name or spelling; or exported files for pixels (.onnx, .xml), all of one network, which
            are compared with each other and with the peers.
        batch_size: images at a time; each is a contest of its own.
        input_size: side of the images; by default what the network was made for.
        engines: engines that take part; ours are left out where files are given.
        threads: threads of every contender; by default one a core.
        turns: turns of each contender.
        seconds: seconds of a turn, at the least.
        tell: is told what is being done.

    Raises:
        ReslabError: a bad argument, or a contender that fails.
    """
    files = tuple(Path(subject) for subject in subjects if Path(subject).suffix in _FILES)
    if files and len(files) < len(subjects):
        raise ReslabError("give either networks' names or files: a file says itself which network it holds.")
    from reslab.bench.inference import InferenceTask, compare_inference, network_of_files
    from reslab.bench.records import make_record
    from reslab.bench.turns import Turns
    from reslab.models.zoo import parse_model

    threads = threads or available_cores()
    tasks = []
    for name in [network_of_files(files)] if files else subjects:
        spec = parse_model(name)
        side = input_size or spec.usual_input_size
        tasks += [InferenceTask(spec, name, size, side, files, threads) for size in batch_size]
    counted = Turns(turns, 3, seconds, untimed_steps=2)
    rows = [compare_inference(task, tuple(engines), counted, tell=tell) for task in tasks]
    return make_record("inference", {"turns": turns, "seconds": seconds, "threads": threads}, rows)


def bench_pipeline(
    file: Path,
    folder: Path,
    *,
    batch_size: int = 16,
    threads: int | None = None,
    turns: int = 5,
    steps: int = 1,
    tell: Tell = print,
) -> dict[str, Any]:
    """The way from image files to labels: the record.

    Args:
        file: exported file for pixels (.onnx, .xml).
        folder: folder of image files, at any depth.
        batch_size: images at a time.
        threads: threads of the network's engine; by default one a core.
        turns: turns of each contender.
        steps: times that a turn goes through the folder, after one that is not timed.
        tell: is told what is being done.

    Raises:
        ReslabError: a bad argument, or a contender that fails.
    """
    from reslab.bench.inference import network_of_files
    from reslab.bench.pipeline import PipelineTask, compare_pipelines
    from reslab.bench.records import make_record
    from reslab.bench.turns import Turns

    network_of_files([file])
    threads = threads or available_cores()
    task = PipelineTask(file, folder, batch_size, threads)
    row = compare_pipelines(task, Turns(turns, steps, untimed_steps=1), tell=tell)
    settings = {
        "data": folder.resolve().name,
        "batch_size": batch_size,
        "threads": threads,
        "turns": turns,
        "steps": steps,
    }
    return make_record("pipeline", settings, [row])


def bench_memory(
    model: str,
    *,
    batch_size: int | None = None,
    kept_batch_size: int | None = None,
    memory: str | None = None,
    input_size: int | None = None,
    recipe: str = "cifar-paper",
    fields: Mapping[str, str] | None = None,
    turns: int = 2,
    steps: int = 1,
    tell: Tell = print,
) -> dict[str, Any]:  # each is a setting of the record
    """The peak memory of training, with and without gradient checkpointing: the record.

    Args:
        model: name or spelling, as in resnet1202.
        batch_size: images a step; the recipe's by default.
        kept_batch_size: images a step of the contender that keeps every activation, where more would not fit.
        memory: memory limit of one more contender, as in 2GiB.
        input_size: side of the generated images; by default what the network was made for.
        recipe: name of a recipe, or a TOML file.
        fields: fields of the recipe, by their paths, as texts.
        turns: turns of each contender.
        steps: steps of a turn, after one that is not timed.
        tell: is told what is being done.

    Raises:
        ReslabError: a bad argument, or a contender that fails.
    """
    from reslab.bench.memory import compare_memory
    from reslab.bench.records import make_record
    from reslab.bench.training_task import TrainingTask
    from reslab.bench.turns import Turns

    chosen = _recipe(recipe, fields or {}, batch_size)
    task = TrainingTask(model, chosen, None, input_size)
    planned = None
    if memory:
        planned = replace(task, recipe=_recipe(recipe, {**(fields or {}), "hardware.memory": memory}, batch_size))
    counted = Turns(turns, steps, untimed_steps=1)
    row = compare_memory(task, planned, counted, kept_batch_size=kept_batch_size, tell=tell)
    settings = {
        "batch_size": chosen.data.batch_size,
        "kept_batch_size": kept_batch_size or chosen.data.batch_size,
        "memory": memory,
        "recipe": chosen.name,
        "set": _listed(fields or {}),
        "turns": turns,
        "steps": steps,
    }
    return make_record("memory", settings, [row])


def _recipe(name: str, changes: Mapping[str, str], batch_size: int | None) -> "Recipe":
    from reslab.training.recipe_files import load_recipe
    from reslab.training.recipe_overrides import with_overrides

    given = {"data.batch_size": str(batch_size)} if batch_size is not None else {}
    return with_overrides(load_recipe(name), {**changes, **given}, flags=True)


def _listed(changes: Mapping[str, str]) -> list[str]:
    return [f"{path}={text}" for path, text in changes.items()]
