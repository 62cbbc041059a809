"""ONNX files, OpenVINO files and torch.export programs, written only if they compute what the network computes.

All take batches of any size: they are traced with a batch of two, since one of a single image would fix the size, and
compared at several. Weights are float32, and batch norm that directly follows a convolution is folded into it (not in
programs). What they take is either float32, normalised as in training, or pixels as decoders give them.
"""

import copy
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from reslab.data.batches import to_channels_last
from reslab.data.normalization import Normalization
from reslab.deploy import engines
from reslab.deploy.engines import (
    check_libraries,
    first_line,
    openvino_core,
    openvino_settings,
    openvinos_reason,
    silenced,
)
from reslab.deploy.runtime import BIN_DIGEST
from reslab.deploy.tracing import INPUT, TALKATIVE, ExportError, FromPixels, any_batch, explaining, trace_onnx
from reslab.errors import DataError
from reslab.files.atomic import atomic_path
from reslab.files.hashing import file_digest
from reslab.models.features import FeatureNetwork

__all__ = [
    "BATCH_SIZES",
    "DEFAULT_OPSET",
    "TOLERANCE",
    "ExportError",
    "ExportReport",
    "InputKind",
    "export_onnx",
    "export_openvino",
    "export_program",
]

InputKind = Literal["uint8", "float"]

BATCH_SIZES = (1, 2, 3)
"""Batches on which a file is compared with the network."""
TOLERANCE = 1e-4
"""The most that a file's logits may differ from the network's, as a share of the largest; rounding comes to 1e-6."""
DEFAULT_OPSET = 18
"""The lowest that torch's exporter writes without converting, which the most runtimes read."""

_TRACED_BATCH = 2
_LARGEST_FILE = 2**31  # bytes of a protobuf message
_LIBRARIES = ("onnx", "onnxscript", "onnxruntime")

Progress = Callable[[str], object]


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


def export_onnx(
    model: FeatureNetwork,
    path: Path | str,
    *,
    normalization: Normalization | None = None,
    image_size: tuple[int, int] | None = None,
    opset: int = DEFAULT_OPSET,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes a network as an ONNX file, after comparing it in ONNX Runtime with the network in evaluation mode.

    The graph's input is `images` of any batch: (batch, H, W, C) uint8 as decoders give them where the normalisation is
    given, which is then part of the graph, and (batch, C, H, W) float32, normalised as in training, where it is not.
    Its output is `logits`, (batch, num_classes), or `features` of a network without a classifier. Nodes have the names
    of the network's modules (`layer1.0.conv1`).

    Args:
        model: is left as it is.
        path: of the file, which ends in .onnx; replaced if it is there.
        normalization: that the network was trained with, for a graph that takes pixels.
        image_size: height and width; those that the network was made for by default.
        opset: version of ONNX's operators, 18 or later.
        metadata: texts kept in the file.
        progress: told what is being done.

    Returns:
        What was written, and the largest difference found.

    Raises:
        ExportError: the libraries are missing, the file cannot be written, or the two differ by more than `TOLERANCE`
            times the largest logit. No file is then left, and one that was there stays as it was.
    """
    check_libraries("exporting to ONNX", *_LIBRARIES)
    _check_opset(opset)
    path = _checked_path(path, ".onnx")
    tell = progress or (lambda text: None)
    task = _prepare(model, normalization, image_size)
    with writing(path) as temporary:
        tell("Tracing")
        num_nodes = _write_onnx(task, temporary, opset, metadata)
        tell("Comparing")
        difference, largest = task.compare(_onnx_session(temporary), "ONNX file")
        num_bytes = temporary.stat().st_size
    return task.report(path, "onnx", num_bytes, opset, num_nodes, difference, largest)


def export_openvino(
    model: FeatureNetwork,
    path: Path | str,
    *,
    normalization: Normalization | None = None,
    image_size: tuple[int, int] | None = None,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes a network in OpenVINO's form, after comparing it in OpenVINO with the network in evaluation mode.

    Input and output are those of `export_onnx`. Weights stay float32. The metadata is in the file's `rt_info`, with
    the digest of the weights' file beside it, so that the two cannot be mixed up.

    Args:
        model: is left as it is.
        path: of the graph, which ends in .xml; the weights go beside it, in a file that ends in .bin. Both are
            replaced if they are there.
        normalization: that the network was trained with, for a graph that takes pixels.
        image_size: height and width; those that the network was made for by default.
        metadata: texts kept in the file, by keys that begin with `reslab.`.
        progress: told what is being done.

    Returns:
        What was written, and the largest difference found.

    Raises:
        ExportError: as for `export_onnx`.
    """
    check_libraries("exporting to OpenVINO", *_LIBRARIES[:2], "openvino")
    path = _checked_path(path, ".xml")
    tell = progress or (lambda text: None)
    task = _prepare(model, normalization, image_size)
    with writing_openvino(path) as temporary:
        tell("Tracing")
        with tempfile.TemporaryDirectory() as folder:
            traced = Path(folder) / "traced.onnx"
            _write_onnx(task, traced, DEFAULT_OPSET, None)
            content = openvino_core().read_model(traced)
            save_openvino(content, temporary, metadata or {})
        tell("Comparing")
        difference, largest = task.compare(_openvino_request(temporary), "OpenVINO file")
        num_bytes = sum(temporary.with_suffix(suffix).stat().st_size for suffix in (".xml", ".bin"))
    num_nodes = sum(node.get_type_name() != "Constant" for node in content.get_ops())
    return task.report(path, "openvino", num_bytes, None, num_nodes, difference, largest)


def export_program(
    model: FeatureNetwork,
    path: Path | str,
    *,
    normalization: Normalization | None = None,
    image_size: tuple[int, int] | None = None,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes a network as a torch.export program, after loading it back and comparing it with the network.

    `torch.export.load(path).module()` is then a module in evaluation mode that needs no code of this package. Its
    input is that of `export_onnx`.

    Args:
        model: is left as it is.
        path: of the file, which ends in .pt2; replaced if it is there.
        normalization: that the network was trained with, for a program that takes pixels.
        image_size: height and width; those that the network was made for by default.
        metadata: texts kept in the file, as `torch.export.load`'s `extra_files`.
        progress: told what is being done.

    Returns:
        What was written, and the largest difference found.

    Raises:
        ExportError: the file cannot be written, or the two differ by more than `TOLERANCE` times the largest logit.
            No file is then left, and one that was there stays as it was.
    """
    path = _checked_path(path, ".pt2")
    tell = progress or (lambda text: None)
    task = _prepare(model, normalization, image_size)
    with writing(path) as temporary, silenced(*TALKATIVE):
        tell("Tracing")
        with explaining():
            program = torch.export.export(task.module, (task.images[_TRACED_BATCH],), dynamic_shapes=any_batch())
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # lines of source with this machine's paths
        with temporary.open("wb") as stream:  # of a path, torch wants another suffix
            torch.export.save(program, stream, extra_files=dict(metadata or {}))
        tell("Comparing")
        with temporary.open("rb") as stream:
            loaded = torch.export.load(stream).module()
        difference, largest = task.compare(loaded, "torch.export program")
        num_bytes = temporary.stat().st_size
    num_nodes = sum(node.op == "call_function" for node in program.graph.nodes)
    return task.report(path, "torch-export", num_bytes, None, num_nodes, difference, largest)


# Before


def _check_opset(opset: int) -> None:
    from onnx.defs import onnx_opset_version

    newest = onnx_opset_version()
    if not DEFAULT_OPSET <= opset <= newest:
        raise ExportError(f"the opset must be between {DEFAULT_OPSET} and {newest}, not {opset}.")


def _checked_path(path: Path | str, suffix: str) -> Path:
    path = Path(path)
    if path.is_dir():
        raise ExportError(f"{path} is a folder; give the name of a file that ends in {suffix}.")
    if path.suffix != suffix:
        raise ExportError(f"the file's name must end in {suffix}, and {path.name!r} does not.")
    return path


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` if nothing goes wrong."""
    try:
        with atomic_path(path) as temporary:
            yield temporary
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}.") from None


@dataclass(frozen=True, eq=False)
class _Task:
    """What is to be traced, and what it must compute.

    Args:
        module: a copy of the network, or one that takes pixels around it.
        input: that it takes.
        images: random ones, by batch size.
        expected: what the network makes of them.
    """

    module: FeatureNetwork | FromPixels
    input: InputKind
    images: Mapping[int, Tensor]
    expected: Mapping[int, Tensor]

    def compare(self, run: Callable[[Tensor], Tensor], what: str) -> tuple[float, float]:
        """The largest difference between logits, and the largest logit."""
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
        path: Path,
        kind: str,
        num_bytes: int,
        opset: int | None,
        num_nodes: int,
        difference: float,
        largest: float,
    ) -> ExportReport:
        shape = self.images[BATCH_SIZES[0]].shape[1:]
        return ExportReport(
            path=path,
            format=kind,
            num_bytes=num_bytes,
            opset=opset,
            num_nodes=num_nodes,
            input=self.input,
            input_shape=(shape[0], shape[1], shape[2]),
            batch_sizes=BATCH_SIZES,
            largest_difference=difference,
            largest_logit=largest,
        )


def _prepare(model: FeatureNetwork, normalization: Normalization | None, image_size: tuple[int, int] | None) -> _Task:
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
    if normalization is None:
        return _Task(network, "float", images, logits)
    return _Task(FromPixels(network, normalization), "uint8", images, logits)


# Writing


def _write_onnx(task: _Task, path: Path, opset: int, metadata: Mapping[str, str] | None) -> int:
    """Writes the graph, and returns how many nodes it has."""
    weights = sum(tensor.numel() * tensor.element_size() for tensor in task.module.state_dict().values())
    if weights >= _LARGEST_FILE:
        raise ExportError(
            f"the network's weights take {weights / 1e9:.2f} GB, and an ONNX file holds 2.14 GB at most; "
            "export it as torch-export."
        )
    program = trace_onnx(task.module, task.images[_TRACED_BATCH], opset)
    program.model.metadata_props.update(metadata or {})
    program.save(path, external_data=False)
    return len(program.model.graph)


@contextmanager
def writing_openvino(path: Path) -> Iterator[Path]:
    """A temporary .xml that becomes `path`, and its .bin the one beside it, if nothing goes wrong."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "model.xml"  # OpenVINO insists on the suffix
        yield temporary
        for suffix in (".bin", ".xml"):
            with writing(path.with_suffix(suffix)) as target:
                shutil.copyfile(temporary.with_suffix(suffix), target)


def save_openvino(content: Any, path: Path, metadata: Mapping[str, str]) -> None:
    """Serialises OpenVINO's model to an .xml and the .bin beside it, with metadata and the .bin's digest among it."""
    openvino = engines.quiet_import("openvino")
    for key, text in metadata.items():
        content.set_rt_info(text, key.split(".", 1))
    openvino.serialize(content, path)
    # Again, since the digest is known only now; the weights come out the same.
    content.set_rt_info(file_digest(path.with_suffix(".bin")), BIN_DIGEST.split(".", 1))
    openvino.serialize(content, path)


# Running


def _onnx_session(path: Path) -> Callable[[Tensor], Tensor]:
    session = engines.onnx_session(path, torch.get_num_threads())

    def run(images: Tensor) -> Tensor:
        try:
            (logits,) = session.run(None, {INPUT: images.numpy()})
        except Exception as error:
            raise ExportError(
                f"ONNX Runtime cannot run the file on {len(images)} images: {first_line(error)} Nothing was written."
            ) from None
        return torch.from_numpy(logits)

    return run


def _openvino_request(path: Path) -> Callable[[Tensor], Tensor]:
    core = openvino_core()
    try:
        content = core.read_model(path)
        request = core.compile_model(content, "CPU", openvino_settings(torch.get_num_threads())).create_infer_request()
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot read the file: {openvinos_reason(error)}") from None

    def run(images: Tensor) -> Tensor:
        try:
            return torch.from_numpy(request.infer({0: images.numpy()})[0].copy())
        except RuntimeError as error:
            raise ExportError(
                f"OpenVINO cannot run the file on {len(images)} images: {openvinos_reason(error)} Nothing was written."
            ) from None

    return run
