"""What the training benchmark trains: a network, a recipe, and images in memory or in files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reslab.bench.turns import BenchmarkError
from reslab.data import NAMED_DATA, ImageData, Split, load_data
from reslab.models import NetSpec, parse_model
from reslab.training.recipe import Recipe

__all__ = ["TrainingTask", "check_task", "class_folders", "task_spec", "training_images"]

_GENERATED_IMAGES = 512
_SHORTER_SIDE = 256 / 224  # of the usual test pipeline: resized so, then cropped


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


def task_spec(task: TrainingTask, data: ImageData) -> NetSpec:
    return parse_model(task.model, defaults={"num_classes": data.num_classes, "in_channels": data.image_shape[2]})


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
    data = load_data(task.data, kind="small", roles=["train"])
    data.need_one_label("contests of trainings are")
    return data


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
