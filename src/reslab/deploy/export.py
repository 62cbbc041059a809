"""ONNX files and torch.export programs, written only if they compute what the network computes.

Both take batches of any size: they are traced with a batch of two, since one of a single image would fix the size, and
compared at several. Weights are float32, and batch norm that directly follows a convolution is folded into it (ONNX).
"""

import ast
import copy
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reslab.errors import ReslabError
from reslab.files.atomic import atomic_path
from reslab.models.features import FeatureNetwork

__all__ = ["BATCH_SIZES", "DEFAULT_OPSET", "TOLERANCE", "ExportError", "ExportReport", "export_onnx", "export_program"]

BATCH_SIZES = (1, 2, 3)
"""Batches on which a file is compared with the network."""
TOLERANCE = 1e-4
"""The most that a file's logits may differ from the network's, as a share of the largest; rounding comes to 1e-6."""
DEFAULT_OPSET = 18
"""The lowest that torch's exporter writes without converting, which the most runtimes read."""

_TRACED_BATCH = 2
_LARGEST_FILE = 2**31  # bytes of a protobuf message
_INPUT = "images"
_LIBRARIES = ("onnx", "onnxscript", "onnxruntime")
# What they say while exporting is about conversions and fallbacks that are checked here afterwards.
_TALKATIVE = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
_SCOPES = "pkg.torch.onnx.name_scopes"

Progress = Callable[[str], object]


class ExportError(ReslabError):
    """A network that cannot be exported as asked, or a file that does not compute what the network computes."""


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how closely it agrees with the network.

    Args:
        path: of the file.
        format: `onnx` or `torch-export`.
        num_bytes: of the file.
        opset: version of ONNX's operators; None for a torch.export program.
        num_nodes: of the graph.
        input_shape: (C, H, W) of an image; the batch has any size.
        batch_sizes: on which file and network were compared.
        largest_difference: of a logit, over these batches of random images.
        largest_logit: of the network, in absolute value, over the same.
    """

    path: Path
    format: str
    num_bytes: int
    opset: int | None
    num_nodes: int
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
    image_size: tuple[int, int] | None = None,
    opset: int = DEFAULT_OPSET,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes a network as an ONNX file, after comparing it in ONNX Runtime with the network in evaluation mode.

    The graph's input is `images`, (batch, C, H, W) float32 with any batch, normalised as in training; its output is
    `logits`, (batch, num_classes), or `features` of a network without a classifier. Nodes have the names of the
    network's modules (`layer1.0.conv1`).

    Args:
        model: is left as it is.
        path: of the file, which ends in .onnx; replaced if it is there.
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
    _check_libraries()
    _check_opset(opset)
    path = _checked_path(path, ".onnx")
    tell = progress or (lambda text: None)
    network, images, expected = _prepare(model, image_size)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if weights >= _LARGEST_FILE:
        raise ExportError(
            f"the network's weights take {weights / 1e9:.2f} GB, and an ONNX file holds 2.14 GB at most; "
            "export it as torch-export."
        )
    with _writing(path) as temporary:
        tell("Tracing")
        program = _trace_onnx(network, images[_TRACED_BATCH], opset)
        _name_after_modules(program.model.graph, network)
        program.model.metadata_props.update(metadata or {})
        program.save(temporary, external_data=False)
        tell("Comparing")
        difference, largest = _compare(expected, images, _onnx_session(temporary), "ONNX file")
        num_bytes = temporary.stat().st_size
    return ExportReport(
        path, "onnx", num_bytes, opset, len(program.model.graph), _shape(images), BATCH_SIZES, difference, largest
    )


def export_program(
    model: FeatureNetwork,
    path: Path | str,
    *,
    image_size: tuple[int, int] | None = None,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes a network as a torch.export program, after loading it back and comparing it with the network.

    `torch.export.load(path).module()` is then a module in evaluation mode that needs no code of this package.

    Args:
        model: is left as it is.
        path: of the file, which ends in .pt2; replaced if it is there.
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
    network, images, expected = _prepare(model, image_size)
    with _writing(path) as temporary, _silenced():
        tell("Tracing")
        with _explaining():
            program = torch.export.export(network, (images[_TRACED_BATCH],), dynamic_shapes=_any_batch())
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # lines of source with this machine's paths
        with temporary.open("wb") as stream:  # of a path, torch wants another suffix
            torch.export.save(program, stream, extra_files=dict(metadata or {}))
        tell("Comparing")
        with temporary.open("rb") as stream:
            loaded = torch.export.load(stream).module()
        difference, largest = _compare(expected, images, loaded, "torch.export program")
        num_bytes = temporary.stat().st_size
    num_nodes = sum(node.op == "call_function" for node in program.graph.nodes)
    return ExportReport(
        path, "torch-export", num_bytes, None, num_nodes, _shape(images), BATCH_SIZES, difference, largest
    )


# Before


def _check_libraries() -> None:
    missing = []
    for name in _LIBRARIES:
        try:
            import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise ExportError(f"exporting to ONNX needs {', '.join(missing)}: pip install 'reslab[deploy]'.")


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
def _writing(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` if nothing goes wrong."""
    try:
        with atomic_path(path) as temporary:
            yield temporary
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}.") from None


def _prepare(
    model: FeatureNetwork, image_size: tuple[int, int] | None
) -> tuple[FeatureNetwork, dict[int, Tensor], dict[int, Tensor]]:
    """A copy of the network to trace, random images by batch size, and what the network makes of them."""
    network = copy.deepcopy(model).cpu().float().eval()
    side = network.spec.usual_input_size
    height, width = image_size or (side, side)
    generator = torch.Generator().manual_seed(0)
    images = {
        size: torch.randn(size, network.spec.in_channels, height, width, generator=generator) for size in BATCH_SIZES
    }
    try:
        with torch.no_grad():
            logits = {size: network(batch) for size, batch in images.items()}  # (N, num_classes)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ExportError(f"{height}x{width} images do not fit this network: {reason}") from None
    if not all(torch.isfinite(batch).all() for batch in logits.values()):
        raise ExportError(
            "the network makes NaN or infinite logits of random images, as very deep ones do before training: there is "
            "nothing to compare."
        )
    return network, images, logits


def _any_batch() -> tuple[dict[int, Any]]:
    return ({0: torch.export.Dim("batch")},)


def _shape(images: dict[int, Tensor]) -> tuple[int, int, int]:
    channels, height, width = next(iter(images.values())).shape[1:]
    return channels, height, width


# Tracing


@contextmanager
def _silenced() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _explaining() -> Iterator[None]:
    """Takes the reason out of the pages that torch writes about a network it cannot trace."""
    try:
        yield
    except RuntimeError as error:
        reason = _first_line(error.__cause__ or error)
        raise ExportError(f"torch cannot trace this network for batches of any size: {reason}") from error


def _trace_onnx(network: FeatureNetwork, images: Tensor, opset: int) -> torch.onnx.ONNXProgram:
    """The graph, simplified, with batch norm folded into the convolutions before it."""
    with _silenced(), _explaining():
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            optimize=True,
            verbose=False,
            opset_version=opset,
            input_names=[_INPUT],
            output_names=["logits" if network.num_classes else "features"],
            dynamic_shapes=_any_batch(),
        )
    assert program is not None
    written = program.model.opset_imports[""]
    if written != opset:  # the exporter goes back to its own version without an error
        raise ExportError(f"this network cannot be written with opset {opset}, only with {written}; leave it out.")
    return program


def _name_after_modules(graph: Any, network: nn.Module) -> None:
    """Gives nodes and values the names of the modules they come from, and drops the exporter's notes.

    The notes hold lines of source with this machine's paths, and take more room than a small network's weights.
    """
    torchs = {name for name, module in network.named_modules() if name and not any(module.children())}
    torchs -= {name for name in torchs if not type(network.get_submodule(name)).__module__.startswith("torch.")}
    taken: Counter[str] = Counter()
    for node in graph:
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "['', '']"))
        scope = scopes[-2]
        # A convolution with a folded norm has the norm's scope; its weight still has the convolution's name.
        weight = node.inputs[1].name if node.op_type in ("Conv", "Gemm") else ""
        if weight.endswith(".weight"):
            scope = weight.removesuffix(".weight")
        name = scope if scope in torchs else f"{scope}.{node.op_type.lower()}".lstrip(".")
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        node.metadata_props.clear()
        for output in node.outputs:
            if not output.is_graph_output():
                output.name = f"{node.name}.output"
    for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
        value.metadata_props.clear()


# Comparing


def _onnx_session(path: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own, which have no base
        raise ExportError(f"ONNX Runtime cannot read the file: {_first_line(error)}") from None

    def run(images: Tensor) -> Tensor:
        try:
            (logits,) = session.run(None, {_INPUT: images.numpy()})
        except Exception as error:
            raise ExportError(
                f"ONNX Runtime cannot run the file on {len(images)} images: {_first_line(error)} Nothing was written."
            ) from None
        return torch.from_numpy(logits)

    return run


def _compare(
    expected: Mapping[int, Tensor], images: Mapping[int, Tensor], run: Callable[[Tensor], Tensor], what: str
) -> tuple[float, float]:
    """The largest difference between logits, and the largest logit."""
    largest = max(float(logits.abs().max()) for logits in expected.values())
    differences = []
    with torch.no_grad():
        for size, logits in expected.items():
            found = run(images[size])
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


def _first_line(error: BaseException) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if line.endswith(".") else f"{line}."
