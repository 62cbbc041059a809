"""From image files to labels: what is left of a network's rate once files are read, decoded, resized and cropped.

reslab       `reslab predict`
dataloader   what most people write: a DataLoader of two workers, PIL, Resize and CenterCrop, the same engine
decoding     our way from files to pixels alone, on every core
raw          the file's network on pixels that lie ready

The last two share the cores in a pipeline, so that from their rates comes the most that it can reach.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from reslab.bench.inference import precision_of
from reslab.bench.records import describe, find, ratios, rounded
from reslab.bench.turns import BenchmarkError, Contender, Turns, Work, take_turns
from reslab.data.preprocessing import Preprocessing
from reslab.deploy.deployed import Deployed
from reslab.deploy.prediction import find_images, predict, read_image
from reslab.deploy.runtime import load_deployed
from reslab.environment import available_cores

__all__ = ["DECODING", "OURS", "PEER", "RAW", "PipelineTask", "compare_pipelines", "image_files", "most_possible"]

OURS, PEER, DECODING, RAW = "reslab", "dataloader", "decoding", "raw"
_WORKERS = 2


@dataclass(frozen=True)
class PipelineTask:
    """What goes in.

    Args:
        network: a file that takes pixels.
        folder: of images, at any depth.
        batch_size: images at a time.
        threads: of the network's engine.
    """

    network: Path
    folder: Path
    batch_size: int
    threads: int


def compare_pipelines(
    task: PipelineTask, turns: Turns, *, tell: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Labels a folder's images by turns; a step is all of them once.

    Args:
        task: what goes in.
        turns: how many, and how long.
        tell: is told what is being done.

    Returns:
        A record's row: the contenders with their images a second, `ratio` of ours to the peer, `share_of_raw`, and the
        `limit` in images a second (`most_possible`) with `limit_ratio` to the peer, both medians over the turns.

    Raises:
        ReslabError: no images, a file that takes no pixels, or a contender that failed.
    """
    files = image_files(task.folder)
    contenders = [
        Contender(OURS, partial(_ours, task)),
        Contender(PEER, partial(_peer, task)),
        Contender(DECODING, partial(_decoding, task)),
        Contender(RAW, partial(_raw, task)),
    ]
    outcomes = take_turns(contenders, turns, tell=tell)
    ours, peer, decoding, raw = (find(outcomes, contender.name) for contender in contenders)
    cores = available_cores()
    limits = [most_possible(*rates, task.threads, cores) for rates in zip(decoding.rates, raw.rates, strict=True)]
    return {
        "network": task.network.name,
        "precision": raw.details["precision"],
        "num_images": len(files),
        "contenders": [describe(outcome) for outcome in outcomes],
        "ratio": ratios(ours, peer),
        "share_of_raw": ratios(ours, raw),
        "limit": rounded(median(limits)),
        "limit_ratio": rounded(median(limit / rate for limit, rate in zip(limits, peer.rates, strict=True))),
    }


def most_possible(decoding: float, network: float, threads: int, cores: int) -> float:
    """Images a second that a pipeline can label if sharing the cores costs nothing.

    Args:
        decoding: images a second from files to pixels, on all cores.
        network: images a second of the network alone.
        threads: of the network.
        cores: there are.
    """
    core_seconds = cores / decoding + min(threads, cores) / network
    return min(network, cores / core_seconds)


def image_files(folder: Path) -> list[Path]:
    """The image files under a folder, by path.

    Raises:
        BenchmarkError: there are none.
    """
    if not folder.is_dir():
        raise BenchmarkError(f"there is no folder {folder}.")
    found = list(find_images([folder]))
    if found == [folder]:
        raise BenchmarkError(f"there are no images under {folder}.")
    return found


def _raw(task: PipelineTask, folder: Path) -> Work:
    deployed = load_deployed(task.network, threads=task.threads)
    num_images = len(image_files(task.folder))
    shape = (task.batch_size, *deployed.preprocessing.shape)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    sizes = [min(task.batch_size, num_images - start) for start in range(0, num_images, task.batch_size)]

    def step() -> None:
        for logits in deployed.stream(pixels[:size] for size in sizes):
            logits.argmax(axis=1)

    return Work(step, num_images, _details(deployed, task))


def _decoding(task: PipelineTask, folder: Path) -> Work:
    preprocessing = load_deployed(task.network, threads=1).preprocessing
    files = image_files(task.folder)
    pool = ThreadPoolExecutor(available_cores())

    def decode(path: Path) -> None:
        read_image(path, preprocessing)  # and let go of: pool.map keeps every result until all are fetched

    def step() -> None:
        for _ in pool.map(decode, files):
            pass

    return Work(step, len(files), {"threads": available_cores()})


class _Files(Dataset[Any]):
    """Images by file, as torchvision's transforms make them; pixels, since that is what the network's file takes."""

    def __init__(self, files: list[Path], preprocessing: Preprocessing) -> None:
        from torchvision import transforms

        crop = transforms.CenterCrop((preprocessing.height, preprocessing.width))
        mode = transforms.InterpolationMode(preprocessing.interpolation)
        self.files, self.mode = files, "RGB" if preprocessing.channels == 3 else "L"
        self.transform = transforms.Compose([transforms.Resize(preprocessing.resize, mode), crop])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as image:
            pixels = np.array(self.transform(image.convert(self.mode)))
        return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1))


def _peer(task: PipelineTask, folder: Path) -> Work:
    deployed = load_deployed(task.network, threads=task.threads)
    dataset = _Files(image_files(task.folder), deployed.preprocessing)
    loader = DataLoader(dataset, task.batch_size, num_workers=_WORKERS, persistent_workers=True)

    def step() -> None:
        for pixels in loader:
            deployed(pixels.numpy()).argmax(axis=1)

    return Work(step, len(dataset), {**_details(deployed, task), "workers": _WORKERS})


def _ours(task: PipelineTask, folder: Path) -> Work:
    deployed = load_deployed(task.network, threads=task.threads)
    files = image_files(task.folder)

    def step() -> None:
        for prediction in predict(deployed, files, top=1, batch_size=task.batch_size):
            if prediction.error is not None:
                raise BenchmarkError(f"{prediction.path}: {prediction.error}")

    return Work(step, len(files), _details(deployed, task))


def _details(deployed: Deployed, task: PipelineTask) -> dict[str, Any]:
    return {
        "engine": deployed.engine,
        "precision": precision_of(deployed),
        "threads": task.threads,
        "batch_size": task.batch_size,
    }
