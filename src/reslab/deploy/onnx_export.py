"""ONNX files."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from reslab.data.normalization import Normalization
from reslab.deploy import engines
from reslab.deploy.engines import check_libraries, first_line
from reslab.deploy.export_task import ExportError, ExportReport, ExportTask, Progress, prepare
from reslab.deploy.tracing import INPUT, trace_onnx
from reslab.deploy.writing import writing
from reslab.models.features import FeatureNetwork

__all__ = ["DEFAULT_OPSET", "TRACING_LIBRARIES", "export_onnx", "write_onnx"]

DEFAULT_OPSET = 18
"""The lowest that torch's exporter writes without converting, which the most runtimes read."""
TRACING_LIBRARIES = ("onnx", "onnxscript")

_LARGEST_FILE = 2**31  # bytes of a protobuf message


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
    check_libraries("exporting to ONNX", *TRACING_LIBRARIES, "onnxruntime")
    _check_opset(opset)
    task = prepare(model, path, ".onnx", normalization, image_size, progress)
    with writing(task.path) as temporary:
        num_nodes = write_onnx(task, temporary, opset, metadata)
        compared = task.compare(_session(temporary), "ONNX file")
    return task.report("onnx", compared, num_nodes, opset=opset)


def _check_opset(opset: int) -> None:
    from onnx.defs import onnx_opset_version

    newest = onnx_opset_version()
    if not DEFAULT_OPSET <= opset <= newest:
        raise ExportError(f"the opset must be between {DEFAULT_OPSET} and {newest}, not {opset}.")


def write_onnx(task: ExportTask, path: Path, opset: int, metadata: Mapping[str, str] | None) -> int:
    """Traces and writes the graph, and returns how many nodes it has."""
    task.tell("Tracing")
    weights = sum(tensor.numel() * tensor.element_size() for tensor in task.module.state_dict().values())
    if weights >= _LARGEST_FILE:
        raise ExportError(
            f"the network's weights take {weights / 1e9:.2f} GB, and an ONNX file holds 2.14 GB at most; "
            "export it as torch-export."
        )
    program = trace_onnx(task.module, task.traced_images, opset)
    program.model.metadata_props.update(metadata or {})
    program.save(path, external_data=False)
    return len(program.model.graph)


def _session(path: Path) -> Callable[[Tensor], Tensor]:
    """Makes logits by ONNX Runtime."""
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
