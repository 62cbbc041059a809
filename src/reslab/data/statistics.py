"""Mean and standard deviation of training images, read once from the first to the last."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.data.batches import read_in_parts
from reslab.data.loading import NAMED_DATA, load_data
from reslab.data.normalization import Normalization
from reslab.data.preprocessing import Preprocessing
from reslab.files.atomic import atomic_path
from reslab.texts import count

__all__ = ["DataStatistics", "measure_data"]


@dataclass(frozen=True, kw_only=True)
class DataStatistics:
    """What was measured.

    Args:
        num_images: of train.
        image_shape: height, width and channels, as a network sees them.
        mean: of each channel, in [0, 1].
        std: of each channel.
        sha256: of the images.
    """

    num_images: int
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str

    def __str__(self) -> str:
        height, width, _ = self.image_shape
        mean, std = (",".join(f"{value:.4f}" for value in values) for values in (self.mean, self.std))
        return f"{count(self.num_images, 'image')} of {width}x{height}\nmean  {mean}\nstd  {std}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "num_images": self.num_images,
            "image_shape": list(self.image_shape),
            "mean": list(self.mean),
            "std": list(self.std),
            "sha256": self.sha256,
        }


def measure_data(
    spec: str | Path,
    *,
    size: int = 224,
    resize: int = 256,
    out: Path | None = None,
    data_dir: Path | None = None,
) -> DataStatistics:
    """Measures the train images of a data set.

    Args:
        spec: a named data set, or a folder of photos.
        size: of photos, side of the central crop that is measured.
        resize: of photos, shorter side to which they are resized before.
        out: .safetensors file for the mean of every pixel, (H, W, C), and the std.
        data_dir: where named data sets are looked for first.

    Raises:
        DataError: no such data, or an image cannot be used.
    """
    view = Preprocessing(height=size, width=size, channels=3, resize=resize)
    kind: Any = "auto" if spec in NAMED_DATA else "photos"
    data = load_data(spec, data_dir=data_dir, roles=["train"], kind=kind, view=view, progress=True)
    split = data.split("train")
    found = Normalization.measure(read_in_parts(split), "per-channel")
    if out is not None:
        with atomic_path(out) as temporary:
            Normalization.measure(read_in_parts(split), "per-pixel-mean").save(temporary)
    return DataStatistics(
        num_images=len(split),
        image_shape=split.image_shape,
        mean=tuple(map(float, found.mean)),
        std=tuple(map(float, found.std)),
        sha256=split.digest,
    )
