"""What `reslab bench` is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reslab.bench.contests import INFERENCE_ENGINES, TRAINING_PEERS
from reslab.cli.command import argument
from reslab.cli.recipe_flags import recipe_flags
from reslab.fields import knob

__all__ = [
    "BenchArguments",
    "InferenceArguments",
    "MemoryArguments",
    "PipelineArguments",
    "ProfileArguments",
    "RatesArguments",
    "TrainingArguments",
]

_MOST = 1 << 16
_RECIPE = "Name of a recipe, or a TOML file."
_THREADS = "Threads; by default one a core."


@dataclass(frozen=True, kw_only=True)
class BenchArguments:
    """What every benchmark is asked for."""

    turns: int = knob(5, "Turns of each contender.", least=1, most=_MOST)
    json: bool = knob(False, "Print the record as JSON.")
    out: Path | None = knob(None, "File for the record: every turn, settings, versions, processor.")


@dataclass(frozen=True, kw_only=True)
class RatesArguments(BenchArguments):
    rates: tuple[str, ...] = argument(
        (),
        "Rates: fp32, bf16, int8 (products of 2048-wide matrices) or copy (of memory); all by default.",
        metavar="RATE",
    )
    threads: int | None = knob(None, _THREADS, least=1, most=_MOST)
    seconds: float = knob(1.0, "Seconds of a turn.", above=0)


@dataclass(frozen=True, kw_only=True)
class TrainingArguments(BenchArguments):
    models: tuple[str, ...] = argument(
        (), "Names or spellings, as in resnet20 or resnet20[shortcut=C].", metavar="MODEL"
    )
    data: str | None = knob(None, "Name of a data set, or a folder of class folders; by default generated images.")
    input_size: int | None = knob(
        None,
        "Side of generated images. With a folder, its photos may then have any size: we keep them in memory, resized "
        "and cropped, and the peers cut random crops out of the files.",
    )
    batch_size: int | None = knob(None, "Images a step; by default the recipe's.", least=2, most=1 << 20)
    recipe: str = knob("cifar-paper", _RECIPE)
    peers: tuple[str, ...] = knob(
        TRAINING_PEERS,
        "Peers: of eager-nchw, eager-channels-last, compiled, torchvision and timm; the last two where they have the "
        "network.",
        several=True,
    )
    steps: int = knob(15, "Steps of a turn, after 5 that are not timed.", least=1, most=_MOST)
    fields: Mapping[str, str] = recipe_flags()


@dataclass(frozen=True, kw_only=True)
class ProfileArguments(TrainingArguments):
    peers: tuple[str, ...] = knob(
        ("eager-nchw",), "Peers: of eager-nchw, eager-channels-last, torchvision and timm.", several=True
    )
    turns: int = knob(3, "Turns of each contender.", least=1, most=_MOST)
    steps: int = knob(8, "Steps of a turn, after 5 that are not timed; and of the profile.", least=1, most=_MOST)


@dataclass(frozen=True, kw_only=True)
class InferenceArguments(BenchArguments):
    subjects: tuple[str, ...] = argument(
        (),
        "Networks by name or spelling; or exported files for pixels (.onnx, .xml), all of one network, which are "
        "compared with each other and with the peers.",
        metavar="MODEL|FILE",
    )
    batch_size: tuple[int, ...] = knob(
        (1, 16), "Images at a time; each is a contest of its own.", several=True, least=1, most=_MOST
    )
    input_size: int | None = knob(
        None, "Side of the images; by default what the network was made for.", least=1, most=_MOST
    )
    engines: tuple[str, ...] = knob(
        INFERENCE_ENGINES,
        "Engines: of those named here; ours are left out where files are given.",
        several=True,
    )
    threads: int | None = knob(None, _THREADS, least=1, most=_MOST)
    seconds: float = knob(3.0, "Seconds of a turn, at the least.", above=0)


@dataclass(frozen=True, kw_only=True)
class PipelineArguments(BenchArguments):
    file: Path = argument(help="Exported file for pixels (.onnx, .xml).", metavar="FILE")
    folder: Path = argument(help="Folder of image files, at any depth.", metavar="FOLDER")
    batch_size: int = knob(16, "Images at a time.", least=1, most=_MOST)
    threads: int | None = knob(None, _THREADS, least=1, most=_MOST)
    steps: int = knob(1, "Times that a turn goes through the folder, after one that is not timed.", least=1, most=_MOST)


@dataclass(frozen=True, kw_only=True)
class MemoryArguments(BenchArguments):
    model: str = argument(help="Name or spelling, as in resnet1202.", metavar="MODEL")
    batch_size: int | None = knob(None, "Images a step; by default the recipe's.", least=2, most=1 << 20)
    kept_batch_size: int | None = knob(
        None,
        "Images a step of the contender that keeps every activation, where more would not fit.",
        least=2,
        most=_MOST,
    )
    memory: str | None = knob(
        None, "Memory of one more contender, whose recipe has this as hardware.memory, as in 2GiB.", metavar="SIZE"
    )
    input_size: int | None = knob(
        None, "Side of the generated images; by default what the network was made for.", least=1
    )
    recipe: str = knob("cifar-paper", _RECIPE)
    turns: int = knob(2, "Turns of each contender.", least=1, most=_MOST)
    steps: int = knob(1, "Steps of a turn, after one that is not timed.", least=1, most=_MOST)
    fields: Mapping[str, str] = recipe_flags()
