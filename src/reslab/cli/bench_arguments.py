"""What `reslab bench` is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from reslab.cli.arguments import OptionalCount, OptionalPath, OptionalText

__all__ = [
    "BenchArguments",
    "InferenceArguments",
    "MemoryArguments",
    "PipelineArguments",
    "ProfileArguments",
    "RatesArguments",
    "TrainingArguments",
]


@dataclass(frozen=True, kw_only=True)
class BenchArguments:
    """What every benchmark is asked for; the others begin with it, so that their help does, too."""

    turns: int = 5
    """That each contender gets."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the record as JSON."""
    out: OptionalPath = None
    """Write the record to this file: every turn, settings, versions, processor."""


@dataclass(frozen=True, kw_only=True)
class RatesArguments(BenchArguments):
    rates: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(name="rate", metavar="[RATE ...]")] = ()
    """fp32, bf16, int8 (products of 2048-wide matrices) or copy (of memory); all by default."""
    threads: OptionalCount = None
    """One a core by default."""
    turns: int = 5
    """That each gets."""
    seconds: float = 1.0
    """Of a turn."""


@dataclass(frozen=True, kw_only=True)
class TrainingArguments(BenchArguments):
    models: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(name="model", metavar="MODEL ...", help_behavior_hint="(one or more)"),
    ]
    """Names or spellings, as in resnet20 or resnet20[shortcut=C]."""
    data: OptionalText = None
    """digits, fashion-mnist, cifar10, cifar100, or a folder of class folders; generated images by default."""
    input_size: OptionalCount = None
    """Side of generated images. With a folder, its photos may then have any size: we keep them in memory, resized and
    cropped, and the peers cut random crops out of the files."""
    batch_size: OptionalCount = None
    """Images a step; the recipe's by default."""
    recipe: str = "cifar-paper"
    """Name of a recipe, or a TOML file."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD=VALUE ...")] = ()
    """Fields of the recipe, as in hardware.compile=off optimizer.learning_rate=0.01; the hardware's are for our side
    alone."""
    peers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ("eager-nchw", "torchvision", "timm")
    """Of eager-nchw, eager-channels-last, compiled, torchvision and timm; the last two where they have the network."""
    steps: int = 15
    """Of a turn, after 5 that are not timed."""


@dataclass(frozen=True, kw_only=True)
class ProfileArguments(TrainingArguments):
    peers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ("eager-nchw",)
    """Of eager-nchw, eager-channels-last, torchvision and timm; the last two where they have the network."""
    turns: int = 3
    """That each contender gets."""
    steps: int = 8
    """Of a turn, after 5 that are not timed; and of the profile."""


@dataclass(frozen=True, kw_only=True)
class InferenceArguments(BenchArguments):
    subjects: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(name="subject", metavar="MODEL|FILE ...", help_behavior_hint="(one or more)"),
    ]
    """Networks by name or spelling; or files that `reslab export` or `reslab quantize` wrote for pixels (.onnx, .xml),
    all of one network, which are compared with each other and with the peers."""
    batch_size: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N ...")] = (1, 16)
    """Images at a time; each is a contest of its own."""
    input_size: OptionalCount = None
    """Side of the images; what the network was made for by default."""
    engines: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = (
        "reslab-onnxruntime",
        "reslab-openvino",
        "reslab-onnxruntime-int8",
        "reslab-openvino-int8",
        "torch-eager",
        "torch-channels-last",
        "torch-compiled",
        "timm",
        "onnxruntime",
        "openvino",
        "openvino-default",
    )
    """Of those named here; ours are left out where files are given."""
    threads: OptionalCount = None
    """Of every contender; one a core by default."""
    seconds: float = 3.0
    """Of a turn, at the least."""


@dataclass(frozen=True, kw_only=True)
class PipelineArguments(BenchArguments):
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """That `reslab export` or `reslab quantize` wrote for pixels (.onnx, .xml)."""
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Of image files, at any depth."""
    batch_size: int = 16
    """Images at a time."""
    threads: OptionalCount = None
    """Of the network's engine; one a core by default."""
    steps: int = 1
    """Times that a turn goes through the folder, after one that is not timed."""


@dataclass(frozen=True, kw_only=True)
class MemoryArguments(BenchArguments):
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Name or spelling, as in resnet1202."""
    batch_size: OptionalCount = None
    """Images a step; the recipe's (128) by default."""
    kept_batch_size: OptionalCount = None
    """Images a step of the contender that keeps every activation, where more would not fit."""
    memory: OptionalText = None
    """Adds a contender whose recipe has this as hardware.memory, as in 2GiB."""
    input_size: OptionalCount = None
    """Side of the generated images; what the network was made for by default."""
    recipe: str = "cifar-paper"
    """Name of a recipe, or a TOML file."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD=VALUE ...")] = ()
    """Fields of the recipe for all contenders, as in hardware.compile=off."""
    turns: int = 2
    """That each contender gets."""
    steps: int = 1
    """Of a turn, after one that is not timed."""
