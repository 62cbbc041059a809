"""The training loops that most people write, as peers of ours.

Every peer is fed by a DataLoader of two workers with PIL transforms, and takes torch's SGD:

    eager-nchw            the same network, eager, in NCHW layout
    eager-channels-last   the same in NHWC layout
    compiled              the same in NHWC layout through torch.compile
    torchvision           torchvision's network and the transforms of its reference training, eager, in NCHW layout
    timm                  timm's network and transforms, eager, in NHWC layout
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from reslab.bench.training_task import TrainingTask, class_folders, task_spec, training_images
from reslab.bench.turns import BenchmarkError, CannotRun, Work
from reslab.data import NAMED_DATA, Split
from reslab.environment import available_cores
from reslab.models import NetSpec, create_model, parse_model
from reslab.training.recipe import Muon, Sgd, SmallImages

__all__ = ["PEERS", "peer_work"]

PEERS = ("eager-nchw", "eager-channels-last", "compiled", "torchvision", "timm")
_WORKERS = 2
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_GREY = ((0.5,), (0.25,))


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


def peer_work(kind: str, task: TrainingTask, folder: Path) -> Work:
    """A peer's steps as work.

    Args:
        kind: of `PEERS`.
        task: what is trained.
        folder: nothing is written to it.

    Raises:
        CannotRun: the peer's library has no such network.
        ReslabError: the data cannot be used.
    """
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
        spec = task_spec(task, data)
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
