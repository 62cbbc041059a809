"""Eight-bit integers: weights and activations of an exported network, calibrated on images.

Both engines get the same scheme: a scale for every output channel of a weight, symmetric about zero (signed); a scale
for every activation, from its smallest and largest value on the calibration images (unsigned after a ReLU, so that no
level is wasted on numbers that do not occur). Both inputs of a shortcut's addition are quantised, so that it needs no
floating point; classifier and pooling are, too.
"""

import contextlib
import io
import json
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reslab.data.dataset import Images
from reslab.deploy.engines import TORCHS, DeployError, check_libraries, first_line, quiet_import, silenced
from reslab.deploy.runtime import BIN_DIGEST, read_metadata, read_openvino
from reslab.deploy.tracing import INPUT
from reslab.deploy.writing import save_openvino, writing, writing_openvino

__all__ = ["QuantizationError", "quantize_onnx", "quantize_openvino"]

Batches = Iterable[Images]

_KEY = "reslab.quantization"
# Whatever an exported network has that ONNX Runtime can compute in integers; one left out would stand between two that
# can, and cost a conversion on either side.
_ONNX_OPERATORS = (
    "Conv",
    "Add",
    "Relu",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Gemm",
    "Reshape",
    "Flatten",
    "Slice",
    "Pad",
)


class QuantizationError(DeployError):
    """A network that cannot be quantised, or that is worse or no faster when it is."""


def quantize_openvino(path: Path | str, calibration: Batches, out: Path | str) -> Path:
    """Quantises a network for OpenVINO, by NNCF: static, with the means of the layers' outputs corrected.

    The file is not compared with the one it comes from; `reslab.deploy.gate` does that.

    Args:
        path: of an exported file, .xml or .onnx, that takes pixels.
        calibration: batches of its images, (N, H, W, C) uint8; some hundreds in all.
        out: of the file to write, which ends in .xml.

    Returns:
        The path of the file.

    Raises:
        DeployError: the libraries are missing, or a file cannot be read, written or quantised.
    """
    path, out = Path(path), Path(out)
    check_libraries("quantising for OpenVINO", "openvino", "nncf")
    nncf = quiet_import("nncf")
    model, metadata = read_openvino(path)
    batches, metadata[_KEY] = _counted(calibration, "nncf", "openvino")
    metadata.pop(BIN_DIGEST, None)  # which .onnx files have not, and which will be another
    images = [image[None] for batch in batches for image in batch]  # one by one: it averages over batches
    with _quantizing(path, "NNCF"):
        quantized = nncf.quantize(
            model,
            nncf.Dataset(images),
            preset=nncf.QuantizationPreset.MIXED,  # weights symmetric, activations as they are
            subset_size=len(images),
            fast_bias_correction=True,
        )
    with writing_openvino(out) as temporary:
        save_openvino(quantized, temporary, metadata)
    return out


def quantize_onnx(path: Path | str, calibration: Batches, out: Path | str) -> Path:
    """Quantises a network for ONNX Runtime: static, as pairs of QuantizeLinear and DequantizeLinear.

    Activations are unsigned also where they can be negative: the kernels for signed ones are slower than float32 on
    processors with VNNI, whose instruction multiplies unsigned by signed.

    Args:
        path: of an exported file, .onnx, that takes pixels.
        calibration: batches of its images, (N, H, W, C) uint8; some hundreds in all.
        out: of the file to write, which ends in .onnx.

    Returns:
        The path of the file.

    Raises:
        DeployError: the libraries are missing, or a file cannot be read, written or quantised.
    """
    path, out = Path(path), Path(out)
    check_libraries("quantising for ONNX Runtime", "onnx", "onnxruntime")
    onnx = quiet_import("onnx")
    metadata = read_metadata(path)
    batches, metadata[_KEY] = _counted(calibration, "onnxruntime", "onnxruntime")
    quantization = quiet_import("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder, writing(out) as temporary:
        prepared = Path(folder) / "prepared.onnx"
        with _quantizing(path, "ONNX Runtime"):
            _fuse(path, prepared)
            quantization.quantize_static(
                prepared,
                temporary,
                _reader(quantization, batches),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(_ONNX_OPERATORS),
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
            )
        content = onnx.load(temporary, format="protobuf")
        onnx.helper.set_model_props(content, metadata)
        temporary.write_bytes(content.SerializeToString())
    return out


def _fuse(path: Path, out: Path) -> None:
    """The graph as ONNX Runtime simplifies it, with the shape of every value, which the quantiser asks for."""
    preparation = quiet_import("onnxruntime.quantization.shape_inference")
    preparation.quant_pre_process(path, out, skip_symbolic_shape=True)


def _reader(quantization: Any, batches: list[Images]) -> Any:
    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Feeds batches."""

        def __init__(self) -> None:
            self.batches = iter(batches)

        def get_next(self) -> dict[str, Images] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

    return Reader()


# Both


def _counted(calibration: Batches, tool: str, engine: str) -> tuple[list[Images], str]:
    """The batches, and what the file will say of its making."""
    batches = list(calibration)
    num_images = sum(map(len, batches))
    if not num_images:
        raise QuantizationError("there are no images to calibrate with.")
    about = {"weights": "int8", "activations": "uint8", "calibration_images": num_images, tool: version(tool)}
    return batches, json.dumps({"engine": engine, **about})


@contextlib.contextmanager
def _quantizing(path: Path, tool: str) -> Iterator[None]:
    """Keeps a library quiet and makes sentences of its errors.

    Both print progress to stdout, which is for results, and warn of what is meant as it is. What they raise has no
    common base.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()), silenced("nncf", "root", *TORCHS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        raise QuantizationError(f"{tool} cannot quantise {path}: {first_line(error)}") from error
