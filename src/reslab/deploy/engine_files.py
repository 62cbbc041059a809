"""Which files each engine runs, and what makes them of a network: in float32, and in 8-bit integers of those."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from reslab.data.dataset import Images
from reslab.deploy.export_task import ExportReport
from reslab.deploy.onnx_export import export_onnx
from reslab.deploy.openvino_export import export_openvino
from reslab.deploy.quantizers import quantize_onnx, quantize_openvino
from reslab.deploy.runtime import Engine
from reslab.trained import Trained

__all__ = ["ENGINE_FILES", "EngineFiles"]


@dataclass(frozen=True)
class EngineFiles:
    """An engine's files.

    Args:
        suffixes: of the file by whose name all go, and of those beside it.
        write: writes a network in float32, as `export_onnx`.
        quantize: writes such a file in 8-bit integers, as `quantize_onnx`.
        libraries: that quantise.
    """

    suffixes: tuple[str, ...]
    write: Callable[..., ExportReport]
    quantize: Callable[[Path, Iterable[Images], Path], Path]
    libraries: tuple[str, ...]

    def export(self, trained: Trained, path: Path) -> ExportReport:
        """Writes a network for pixels, with all that a file says of it.

        Args:
            trained: the network, whose normalisation must be known.
            path: of the file, which ends in the first of `suffixes`.

        Raises:
            DeployError: as for `export_onnx`, or nobody knows how the network's inputs are normalised.
        """
        about = trained.about
        return self.write(
            trained.model,
            path,
            normalization=about.known_normalization(),
            image_size=about.preprocessing.shape[:2],
            metadata=about.metadata(),
        )

    def num_bytes(self, path: Path) -> int:
        """Of a file with those beside it."""
        return sum(path.with_suffix(suffix).stat().st_size for suffix in self.suffixes)


ENGINE_FILES: dict[Engine, EngineFiles] = {
    "openvino": EngineFiles((".xml", ".bin"), export_openvino, quantize_openvino, ("openvino", "nncf")),
    "onnxruntime": EngineFiles((".onnx",), export_onnx, quantize_onnx, ("onnxruntime", "onnx")),
}
