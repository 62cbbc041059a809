"""Files that run without this package, written only if they compute what the network computes.

All take batches of any size: they are traced with a batch of two, since one of a single image would fix the size, and
compared at several. Weights are float32, and batch norm that directly follows a convolution is folded into it (not in
programs). What they take is either float32, normalised as in training, or pixels as decoders give them. Here is what
ONNX files, OpenVINO files and torch.export programs share.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from reslab.data.batches import to_channels_last
from reslab.data.normalization import Normalization
from reslab.deploy.tracing import ExportError, FromPixels
from reslab.deploy.writing import checked_path
from reslab.errors import DataError
from reslab.models.features import FeatureNetwork
from reslab.texts import show_size

__all__ = ["BATCH_SIZES", "TOLERANCE", "ExportError", "ExportReport", "ExportTask", "InputKind", "Progress", "prepare"]

InputKind = Literal["uint8", "float"]
Progress = Callable[[str], object]

BATCH_SIZES = (1, 2, 3)
"""Batches on which a file is compared with the network."""
TOLERANCE = 1e-4
"""The most that a file's logits may differ from the network's, as a share of the largest; rounding comes to 1e-6."""

_TRACED_BATCH = 2


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how closely it agrees with the network.

    Args:
        path: of the file.
        format: `onnx`, `openvino` or `torch-export`.
        num_bytes: of the file; of both files of OpenVINO's.
        opset: version of ONNX's operators; None for the other formats.
        num_nodes: of the graph.
        input: `uint8` for pixels, `float` for normalised images.
        input_shape: of an image, (H, W, C) of uint8 and (C, H, W) of float; the batch has any size.
        batch_sizes: on which file and network were compared.
        largest_difference: of a logit, over these batches of random images.
        largest_logit: of the network, in absolute value, over the same.
    """

    path: Path
    format: str
    num_bytes: int
    opset: int | None
    num_nodes: int
    input: InputKind
    input_shape: tuple[int, int, int]
    batch_sizes: tuple[int, ...]
    largest_difference: float
    largest_logit: float

    def __str__(self) -> str:
        version = f"opset {self.opset}, " if self.opset else ""
        shape = ", ".join(map(str, self.input_shape))
        pixels = " uint8" if self.input == "uint8" else ""
        batches = f"{', '.join(map(str, self.batch_sizes[:-1]))} and {self.batch_sizes[-1]}"
        return (
            f"{self.path}: {show_size(self.num_bytes)}, {version}{self.num_nodes:,} nodes, images (batch, {shape})"
            f"{pixels}\n"
            f"Agrees with PyTorch on batches of {batches} random images: largest difference "
            f"{self.largest_difference:.1e}, largest logit {self.largest_logit:.3g}."
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "path": str(self.path),
            "format": self.format,
            "num_bytes": self.num_bytes,
            "opset": self.opset,
            "num_nodes": self.num_nodes,
            "input": self.input,
            "input_shape": list(self.input_shape),
            "batch_sizes": list(self.batch_sizes),
            "largest_difference": self.largest_difference,
            "largest_logit": self.largest_logit,
            "tolerance": TOLERANCE,
        }


@dataclass(frozen=True, eq=False)
class ExportTask:
    """What is to be traced and written, and what it must compute.

    Args:
        path: of the file.
        tell: is told what is being done.
        module: a copy of the network, or one that takes pixels around it.
        input: that it takes.
        images: random ones, by batch size.
        expected: what the network makes of them.
    """

    path: Path
    tell: Progress
    module: FeatureNetwork | FromPixels
    input: InputKind
    images: Mapping[int, Tensor]
    expected: Mapping[int, Tensor]

    @property
    def traced_images(self) -> Tensor:
        """A batch to trace the module with."""
        return self.images[_TRACED_BATCH]

    def compare(self, run: Callable[[Tensor], Tensor], what: str) -> tuple[float, float]:
        """Runs what was written on the images.

        Args:
            run: makes logits of a batch.
            what: was written, for messages.

        Returns:
            The largest difference between logits, and the largest logit.

        Raises:
            ExportError: the difference is larger than `TOLERANCE` allows.
        """
        self.tell("Comparing")
        largest = max(float(logits.abs().max()) for logits in self.expected.values())
        differences = []
        with torch.no_grad():
            for size, logits in self.expected.items():
                found = run(self.images[size])
                if found.shape != logits.shape:
                    raise ExportError(
                        f"of {size} images the {what} makes logits of shape {tuple(found.shape)}, and the network of "
                        f"{tuple(logits.shape)}. Nothing was written."
                    )
                differences.append(float((found - logits).abs().max()))
        difference = max(differences)
        # Not `difference > ...`, which NaN would pass.
        if not all(value <= TOLERANCE * largest for value in differences):
            raise ExportError(
                f"the {what} differs from the network by {difference:.2g} where the largest logit is {largest:.2g}; "
                f"{TOLERANCE * largest:.2g} is allowed. Nothing was written."
            )
        return difference, largest

    def report(
        self,
        kind: str,
        compared: tuple[float, float],
        num_nodes: int,
        *,
        opset: int | None = None,
        beside: tuple[Path, ...] = (),
    ) -> ExportReport:
        """Says what was written.

        Args:
            kind: the file's format.
            compared: what `compare` returned.
            num_nodes: of the graph.
            opset: version of ONNX's operators, where there are some.
            beside: other files that belong to this one.
        """
        shape = self.images[BATCH_SIZES[0]].shape[1:]
        return ExportReport(
            path=self.path,
            format=kind,
            num_bytes=sum(path.stat().st_size for path in (self.path, *beside)),
            opset=opset,
            num_nodes=num_nodes,
            input=self.input,
            input_shape=(shape[0], shape[1], shape[2]),
            batch_sizes=BATCH_SIZES,
            largest_difference=compared[0],
            largest_logit=compared[1],
        )


def prepare(
    model: FeatureNetwork,
    path: Path | str,
    suffix: str,
    normalization: Normalization | None,
    image_size: tuple[int, int] | None,
    progress: Progress | None,
) -> ExportTask:
    """Runs a copy of the network on random images.

    Args:
        model: is left as it is.
        path: of the file to write.
        suffix: that its name must have.
        normalization: that the network was trained with, for a file that takes pixels.
        image_size: height and width; those that the network was made for by default.
        progress: told what is being done.

    Raises:
        ExportError: a path, images or a normalisation that do not fit, or logits that are not finite.
    """
    path = checked_path(path, suffix)
    network = copy.deepcopy(model).cpu().float().eval()
    side = network.spec.usual_input_size
    height, width = image_size or (side, side)
    channels = network.spec.in_channels
    generator = torch.Generator().manual_seed(0)
    if normalization is None:
        images = {size: torch.randn(size, channels, height, width, generator=generator) for size in BATCH_SIZES}
        normalized = images
    else:
        try:
            normalization.check(height, width, channels)
        except DataError as error:
            raise ExportError(f"{error} Without it, the file can take normalised images.") from None
        images = {
            size: torch.randint(256, (size, height, width, channels), dtype=torch.uint8, generator=generator)
            for size in BATCH_SIZES
        }
        normalized = {size: to_channels_last(normalization(batch.numpy())) for size, batch in images.items()}
    try:
        with torch.no_grad():
            logits = {size: network(batch) for size, batch in normalized.items()}  # (N, num_classes)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ExportError(f"{height}x{width} images do not fit this network: {reason}") from None
    if not all(torch.isfinite(batch).all() for batch in logits.values()):
        raise ExportError(
            "the network makes NaN or infinite logits of random images, as very deep ones do before training: there is "
            "nothing to compare."
        )
    task = partial(ExportTask, path=path, tell=progress or (lambda text: None), images=images, expected=logits)
    if normalization is None:
        return task(module=network, input="float")
    return task(module=FromPixels(network, normalization), input="uint8")
