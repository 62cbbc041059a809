"""The forms that a network is exported in; one is added here, and the command line and Python know it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.deploy.export_task import ExportError, ExportReport, InputKind, Progress
from reslab.deploy.onnx_export import export_onnx
from reslab.deploy.openvino_export import export_openvino
from reslab.deploy.program_export import export_program
from reslab.errors import suggestion
from reslab.trained import Trained

__all__ = ["FORMATS", "Format", "export"]


@dataclass(frozen=True)
class Format:
    """A form of exported files.

    Args:
        suffix: of the file.
        summary: what it is, for a list.
        write: makes it of a network, as `export_onnx`.
        options: keyword arguments that `write` has besides those of all.
    """

    suffix: str
    summary: str
    write: Callable[..., ExportReport]
    options: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", "an ONNX file", export_onnx, ("opset",)),
    "openvino": Format(".xml", "an OpenVINO file, with the weights in a .bin beside it", export_openvino),
    "torch-export": Format(".pt2", "a torch.export program", export_program),
}


def export(
    trained: Trained,
    path: Path | str,
    *,
    format: str | None = None,
    input: InputKind | None = None,
    opset: int | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes a network as a file that runs without this package, after comparing the two.

    Args:
        trained: the network.
        path: of the file.
        format: onnx, openvino or torch-export; by default the one that the file is named for.
        input: what the file takes: `uint8` for pixels, `float` for images normalised as in training; pixels by default
            where it is known how the network's inputs are normalised.
        opset: version of ONNX's operators.
        progress: told what is being done.

    Raises:
        ReslabError: as for `export_onnx`; or pixels are asked for, and nobody knows the normalisation.
    """
    by_suffix = {form.suffix: name for name, form in FORMATS.items()}
    format = format or by_suffix.get(Path(path).suffix)
    if format is None:
        raise ExportError(f"an exported file ends in {', '.join(by_suffix)}, and {Path(path).name!r} in none of them.")
    if format not in FORMATS:
        raise ExportError(f"there is no export {format!r}{suggestion(format, FORMATS, f'; there are {_all()}.')}")
    form, about = FORMATS[format], trained.about
    given: dict[str, Any] = {"opset": opset} if opset is not None else {}
    if wrong := [name for name in given if name not in form.options]:
        raise ExportError(f"{wrong[0]} is not for {format} files; leave it out.")
    pixels = about.normalization is not None if input is None else input == "uint8"
    normalization = about.known_normalization() if pixels else None
    if normalization is not None:
        normalization.check(*about.preprocessing.shape)
    return form.write(
        trained.model,
        path,
        normalization=normalization,
        image_size=about.preprocessing.shape[:2],
        metadata=about.metadata(),
        progress=progress,
        **given,
    )


def _all() -> str:
    return ", ".join(FORMATS)
