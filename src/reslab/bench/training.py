"""Training steps, end to end from images to updated weights, against the loops that most people write.

Ours is the trainer as `reslab train` sets it up. Every peer is fed by a DataLoader of two workers with PIL
transforms, and takes torch's SGD:

    eager-nchw            the same network, eager, in NCHW layout
    eager-channels-last   the same in NHWC layout
    compiled              the same in NHWC layout through torch.compile
    torchvision           torchvision's network and the transforms of its reference training, eager, in NCHW layout
    timm                  timm's network and transforms, eager, in NHWC layout
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from reslab.analysis.complexity import count_macs
from reslab.bench.profile import profile_steps
from reslab.bench.rates import rate_contender
from reslab.bench.records import best, describe, find, ratios, share
from reslab.bench.turns import BenchmarkError, CannotRun, Contender, Turns, Work, take_turns
from reslab.data import NAMED_DATA, ImageData, Split, load_data
from reslab.environment import available_cores
from reslab.models import NetSpec, create_model, parse_model, spell
from reslab.runs import Run
from reslab.training.execution import choose_execution
from reslab.training.loop import Trainer
from reslab.training.plan import Asked, Plan
from reslab.training.recipe import DataRecipe, Muon, Recipe, Sgd, SmallImages

__all__ = [
    "OURS",
    "PEERS",
    "TrainingTask",
    "check_task",
    "class_folders",
    "compare_training",
    "make_trainer",
    "our_work",
    "training_images",
]

OURS = "reslab"
PEERS = ("eager-nchw", "eager-channels-last", "compiled", "torchvision", "timm")
_WORKERS = 2
_GENERATED_IMAGES = 512
_OPERATIONS_A_MAC = 6  # forward, and twice that backward; a multiply-add is two operations
_SHORTER_SIDE = 256 / 224  # of the usual test pipeline: resized so, then cropped
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_GREY = ((0.5,), (0.25,))


@dataclass(frozen=True)
class TrainingTask:
    """What is trained, by us and by the peers.

    Args:
        model: a name or spelling; classes and channels are the data's unless it states them.
        recipe: with the batch size.
        data: as in `load_data`; None for generated images.
        input_size: side of generated images; or the side to which a folder of photos of any size is cropped.
    """

    model: str
    recipe: Recipe
    data: str | None = None
    input_size: int | None = None

    @property
    def photos(self) -> bool:
        """Whether the images are files of any size."""
        return self.data is not None and self.input_size is not None

    @property
    def data_name(self) -> str:
        """As people call it; a folder's own name for a folder."""
        return "generated images" if self.data is None else Path(self.data).resolve().name


def compare_training(
    task: TrainingTask,
    peers: tuple[str, ...],
    turns: Turns,
    *,
    profiled_steps: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Trains by turns.

    Args:
        task: what is trained.
        peers: of `PEERS`.
        turns: how many, and how long.
        profiled_steps: that each contender takes after its turns, to add a `profile` (see `profile_steps`) to its
            details.
        tell: is told what is being done.

    Returns:
        A record's row: the contenders with their images a second; the ratio of ours to each peer and to the best one;
        and the shares of the rates that were measured in the same turns, in fp32 and in the precision that ours trains
        in, at six operations for every multiply-add of an image's forward pass.

    Raises:
        ReslabError: a bad task, or a contender that failed.
    """
    check_task(task)
    for peer in peers:
        if peer not in PEERS:
            raise BenchmarkError(f"there is no peer {peer!r}; there are {', '.join(PEERS)}.")
    if profiled_steps and ("compiled" in peers or task.recipe.hardware.compile != "off"):
        raise BenchmarkError("a compiled step has no profile: its operations are fused under other names.")
    makers = {OURS: partial(_ours, task), **{peer: partial(_peer, peer, task) for peer in peers}}
    contenders = [
        Contender(name, partial(_profiled, make, profiled_steps) if profiled_steps else make)
        for name, make in makers.items()
    ]
    threads = task.recipe.hardware.threads
    *outcomes, fp32, bf16 = take_turns(
        [*contenders, rate_contender("fp32", threads), rate_contender("bf16", threads)], turns, tell=tell
    )
    ours = find(outcomes, OURS)
    rivals = outcomes[1:]
    fastest = best(rivals)
    macs, precision = ours.details["macs"], ours.details["precision"]
    own = {"fp32": fp32, "bf16": bf16}.get(precision)
    return {
        "model": task.model,
        "macs": macs,
        "precision": precision,
        "contenders": [describe(outcome) for outcome in outcomes],
        "ratios": {peer.name: ratios(ours, peer) for peer in rivals if peer.rates},
        "best_peer": fastest.name if fastest else None,
        "fp32": describe(fp32, "gflops", 1e-9),
        "bf16": describe(bf16, "gflops", 1e-9),
        "share_of_fp32_rate": share(ours, _OPERATIONS_A_MAC * macs, fp32),
        "share_of_own_rate": share(ours, _OPERATIONS_A_MAC * macs, own) if own else None,
    }


def _profiled(make: Callable[[Path], Work], steps: int, folder: Path) -> Work:
    """A contender's work, with a profile in its report."""
    work = make(folder)
    if work.details.get("execution", {}).get("device", "cpu") != "cpu":
        raise CannotRun("a profile is of work on a CPU; set hardware.device=cpu")
    return replace(work, report=lambda: {"profile": profile_steps(work.step, steps)})


def check_task(task: TrainingTask) -> None:
    """Raises ReslabError for what can be seen to be wrong before any process starts."""
    parse_model(task.model)
    if task.input_size is not None and not 8 <= task.input_size <= 1024:
        raise BenchmarkError(f"--input-size must be between 8 and 1,024, not {task.input_size}.")
    if task.photos and task.data in NAMED_DATA:
        raise BenchmarkError(
            f"--input-size is for generated images and for folders of photos; {task.data} has its own."
        )
    if task.data is not None and task.data not in NAMED_DATA and not Path(task.data).is_dir():
        load_data(task.data)  # which says so


# Ours


def make_trainer(task: TrainingTask, folder: Path, stack: ExitStack) -> Trainer:
    """The trainer that `reslab train` would run, with what it chooses by itself on this machine.

    Args:
        task: what is trained.
        folder: of the run; nothing is written until the trainer is asked to.
        stack: is given what must end after the trainer.
    """
    data = training_images(task)
    spec = _spec(task, data)
    full_size = replace(task.recipe.data, initial_scale=1.0, initial_share=DataRecipe().initial_share)
    recipe = replace(task.recipe, data=full_size)
    recipe = recipe.resolved(
        recipe.schedule.made_for_images or len(data.split("train"))
    )  # compiled if it would be there
    execution = choose_execution(recipe, spec, data.image_shape[:2])
    stack.enter_context(execution.in_force())
    trainer = Trainer(Plan(Asked(spec, data, recipe, seed=0), Run(folder), execution))
    trainer.state.model.train()
    return trainer


def our_work(task: TrainingTask, folder: Path) -> tuple[Trainer, Work]:
    """The trainer, and its steps as work."""
    stack = ExitStack()
    trainer = make_trainer(task, folder, stack)
    height, width, _ = trainer.data.image_shape
    what = "crops and mirrors of images in memory"
    if task.photos:
        what += f", which were resized and cropped to {width}x{height} before"
    details = {
        "net": spell(trainer.state.model.spec),
        "macs": count_macs(trainer.state.model.spec, (height, width)),
        "precision": trainer.execution.precision,
        "input": what,
        "execution": trainer.execution.to_dict(),
    }
    return trainer, Work(trainer.iterate, task.recipe.data.batch_size, details, close=stack.close)


def _ours(task: TrainingTask, folder: Path) -> Work:
    return our_work(task, folder)[1]


def _spec(task: TrainingTask, data: ImageData) -> NetSpec:
    return parse_model(task.model, defaults={"num_classes": data.num_classes, "in_channels": data.image_shape[2]})


# Images


def training_images(task: TrainingTask) -> ImageData:
    """The training images of a task, in memory.

    Raises:
        DataError: as in `load_data`.
    """
    if task.data is None:
        return _generated(parse_model(task.model), task.input_size)
    if task.photos:
        assert task.input_size is not None
        return _cropped_photos(class_folders(Path(task.data)), task.input_size)
    return load_data(task.data, kind="small", roles=["train"])


def class_folders(folder: Path) -> Path:
    """The folder of class folders: train/ inside, or else val/ or test/, or the folder itself."""
    return next((folder / name for name in ("train", "val", "test") if (folder / name).is_dir()), folder)


def _generated(spec: NetSpec, input_size: int | None) -> ImageData:
    side = input_size or spec.usual_input_size
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (_GENERATED_IMAGES, side, side, spec.in_channels), dtype=np.uint8)
    labels = np.arange(_GENERATED_IMAGES, dtype=np.int64) % spec.num_classes
    classes = tuple(f"class{index}" for index in range(spec.num_classes))
    return ImageData("generated", classes, {"train": Split(images, labels)})


def _cropped_photos(folder: Path, side: int) -> ImageData:
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    crop = transforms.Compose([transforms.Resize(round(side * _SHORTER_SIDE)), transforms.CenterCrop(side)])
    photos = ImageFolder(folder, crop)
    images, labels = zip(*((np.asarray(image), label) for image, label in photos), strict=True)
    return ImageData(folder.name, tuple(photos.classes), {"train": Split(np.stack(images), np.array(labels, np.int64))})


class _ArrayImages(Dataset[tuple[Any, int]]):
    """Images in memory, made into PIL images one by one, as torchvision.datasets.CIFAR10 does."""

    def __init__(self, split: Split, transform: Callable[[Image.Image], Any]) -> None:
        self.split, self.transform = split, transform

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        pixels = self.split.images[index]
        image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
        return self.transform(image), int(self.split.labels[index])


# Peers


def _peer(kind: str, task: TrainingTask, folder: Path) -> Work:
    _check_peer(kind, task.model)
    torch.set_num_threads(task.recipe.hardware.threads or available_cores())
    dataset, spec, fed = _dataset(kind, task)
    batch_size = task.recipe.data.batch_size
    if len(dataset) < batch_size:
        raise BenchmarkError(f"a batch of {batch_size} takes more images than there are ({len(dataset)}).")
    loader = DataLoader(
        dataset, batch_size, shuffle=True, num_workers=_WORKERS, drop_last=True, persistent_workers=_WORKERS > 0
    )
    batches = _endless(loader)
    layout = torch.contiguous_format if kind in ("eager-nchw", "torchvision") else torch.channels_last
    model = _network(kind, task.model, spec).to(memory_format=layout).train()
    forward = torch.compile(model, dynamic=False) if kind == "compiled" else model
    sgd = task.recipe.optimizer
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=sgd.learning_rate,
        momentum=sgd.momentum if isinstance(sgd, Sgd | Muon) else 0.9,
        weight_decay=sgd.weight_decay,
    )

    def step() -> None:
        images, labels = next(batches)
        logits = forward(images.contiguous(memory_format=layout))
        loss = functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()
        (logits.argmax(dim=1) != labels).sum().item()

    details = {
        "threads": torch.get_num_threads(),
        "workers": _WORKERS,
        "input": fed,
        "channels_last": layout is torch.channels_last,
    }
    return Work(step, batch_size, details)


def _check_peer(kind: str, model: str) -> None:
    """Other libraries have ImageNet's networks, and some of our names mean other networks there."""
    if kind == "torchvision":
        import torchvision

        known = model in torchvision.models.list_models(torchvision.models)
    elif kind == "timm":
        import timm

        known = timm.is_model(model)
    else:
        return
    if not known or parse_model(model).stem == "cifar":
        raise CannotRun(f"{kind} has no {model}")


def _endless(loader: DataLoader[Any]) -> Iterator[list[Tensor]]:
    """A loader's batches, epoch after epoch."""
    while True:
        yield from loader


def _dataset(kind: str, task: TrainingTask) -> tuple[Any, NetSpec, str]:
    """A peer's images, the network that fits them, and what is done to them in words."""
    from torchvision.datasets import ImageFolder

    if task.data is None or task.data in NAMED_DATA:
        data = training_images(task)
        spec = _spec(task, data)
        transform, words = _transform(kind, task, spec, data.image_shape[1])
        return _ArrayImages(data.split("train"), transform), spec, f"arrays in memory, as PIL images: {words}"
    files = ImageFolder(class_folders(Path(task.data)))
    spec = parse_model(task.model, defaults={"num_classes": len(files.classes), "in_channels": 3})
    files.transform, words = _transform(kind, task, spec, task.input_size or files[0][0].width)
    return files, spec, f"files, with ImageFolder: {words}"


def _transform(kind: str, task: TrainingTask, spec: NetSpec, side: int) -> tuple[Callable[[Image.Image], Any], str]:
    """From a PIL image to a tensor, as a peer would; and in words."""
    from torchvision import transforms

    if kind == "timm":
        from timm.data.transforms_factory import create_transform

        made = create_transform(side, is_training=True, color_jitter=0.0, interpolation="bilinear")
        return made, f"timm's transform for training at {side}, without colour jitter"
    crop: Callable[[Image.Image], Any]
    if task.photos or spec.stem != "cifar":
        crop, words = transforms.RandomResizedCrop(side), f"RandomResizedCrop({side})"
    else:
        images = task.recipe.data.images
        pad = images.pad if isinstance(images, SmallImages) else SmallImages().pad
        crop, words = transforms.RandomCrop(side, padding=pad), f"RandomCrop({side}, padding={pad})"
    mean, std = _IMAGENET if spec.in_channels == 3 else _GREY
    steps = [crop, transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize(mean, std)]
    return transforms.Compose(steps), f"{words}, RandomHorizontalFlip, ToTensor, Normalize"


def _network(kind: str, name: str, spec: NetSpec) -> nn.Module:
    """A peer's network."""
    if kind == "torchvision":
        import torchvision

        return torchvision.models.get_model(name, num_classes=spec.num_classes)  # type: ignore[no-any-return]
    if kind == "timm":
        import timm

        return timm.create_model(name, num_classes=spec.num_classes, in_chans=spec.in_channels)
    return create_model(spec)
