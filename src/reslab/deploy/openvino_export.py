"""OpenVINO files."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from reslab.data.normalization import Normalization
from reslab.deploy.engines import check_libraries, openvino_core, openvino_settings, openvinos_reason
from reslab.deploy.export_task import ExportError, ExportReport, Progress, prepare
from reslab.deploy.onnx_export import DEFAULT_OPSET, TRACING_LIBRARIES, write_onnx
from reslab.deploy.writing import save_openvino, writing_openvino
from reslab.models.features import FeatureNetwork

__all__ = ["export_openvino"]


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
    check_libraries("exporting to OpenVINO", *TRACING_LIBRARIES, "openvino")
    task = prepare(model, path, ".xml", normalization, image_size, progress)
    with writing_openvino(task.path) as temporary:
        with tempfile.TemporaryDirectory() as folder:
            traced = Path(folder) / "traced.onnx"
            write_onnx(task, traced, DEFAULT_OPSET, None)
            content = openvino_core().read_model(traced)
            save_openvino(content, temporary, metadata or {})
        compared = task.compare(_request(temporary), "OpenVINO file")
    num_nodes = sum(node.get_type_name() != "Constant" for node in content.get_ops())
    return task.report("openvino", compared, num_nodes, beside=(task.path.with_suffix(".bin"),))


def _request(path: Path) -> Callable[[Tensor], Tensor]:
    """Makes logits by OpenVINO."""
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
