"""Exported files, ready to run: pixels in, logits out, whatever the engine."""

from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

from reslab.data.dataset import Images
from reslab.deploy.deployed import Deployed, Logits, in_order
from reslab.deploy.engines import (
    DeployError,
    check_libraries,
    first_line,
    onnx_session,
    openvino_core,
    openvino_settings,
    openvinos_reason,
    quiet_import,
)
from reslab.errors import DataError
from reslab.files.hashing import file_digest
from reslab.files.sets import read_set
from reslab.trained import EXPORTED_SUFFIXES, Description

__all__ = ["BIN_DIGEST", "Engine", "load_deployed", "read_metadata", "read_openvino"]

Engine = Literal["onnxruntime", "openvino"]

BIN_DIGEST = "reslab.bin_sha256"
"""Key, in an OpenVINO file's metadata, of the digest of its weights, which are a file of their own."""


def load_deployed(path: Path | str, engine: Engine | None = None, threads: int | None = None) -> Deployed:
    """Reads a file that `reslab export` or `reslab quantize` wrote for pixels.

    Args:
        path: an ONNX file (.onnx), or OpenVINO's .xml with its .bin beside it.
        engine: `onnxruntime` (.onnx) or `openvino` (either); by default the one that the file is named for.
        threads: of one inference; all available cores by default.

    Raises:
        DeployError: the libraries are missing, or the file is damaged, of another kind, or not for pixels.
    """
    path = Path(path)
    engine = engine or ("openvino" if path.suffix == ".xml" else "onnxruntime")
    if engine not in get_args(Engine):
        raise DeployError(f"there is no engine {engine!r}: choose {' or '.join(get_args(Engine))}.")
    if path.suffix not in EXPORTED_SUFFIXES:
        raise DeployError(f"a deployed file ends in {' or '.join(EXPORTED_SUFFIXES)}, and {path.name!r} does not.")
    if path.suffix == ".xml" and engine == "onnxruntime":
        raise DeployError(f"ONNX Runtime cannot run {path.name}, which is OpenVINO's; leave --engine out.")
    if not path.is_file():
        raise DeployError(f"there is no file {path}.")
    if threads is not None and threads < 1:
        raise DeployError(f"the threads must be positive, not {threads}.")
    if engine == "onnxruntime":
        return _load_onnxruntime(path, threads)
    return _load_openvino(path, threads)


# ONNX Runtime


def _load_onnxruntime(path: Path, threads: int | None) -> Deployed:
    check_libraries("running ONNX files", "onnx", "onnxruntime")
    metadata = read_metadata(path)
    session = onnx_session(path, threads)
    (images,), (logits,) = _only(path, session.get_inputs()), _only(path, session.get_outputs())
    shapes = _known(images.shape[1:]), _known(logits.shape[1:])
    about = _described(path, metadata, images.type == "tensor(uint8)", *shapes)

    def run(batch: Images) -> Logits:
        try:
            found: Logits = session.run(None, {images.name: batch})[0]
        except Exception as error:  # ONNX Runtime's own, which have no base
            raise DeployError(f"ONNX Runtime cannot run {path}: {first_line(error)}") from None
        return found

    return Deployed(about, "onnxruntime", *in_order(run), metadata)


def read_metadata(path: Path) -> dict[str, str]:
    """What an ONNX file says of itself, by key.

    Raises:
        DeployError: it is no ONNX file, or keeps its weights in other files.
    """
    onnx = quiet_import("onnx")
    try:
        content = onnx.load(path, format="protobuf", load_external_data=False)
    except OSError as error:
        raise DeployError(f"cannot read {path}: {error.strerror or error}.") from None
    except Exception:  # protobuf's DecodeError, whose class depends on its implementation
        raise DeployError(f"{path} is no ONNX file, or is damaged.") from None
    # What we write is one file; another one's paths are no business of whoever opens it.
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in content.graph.initializer):
        raise DeployError(f"{path} keeps its weights in other files; export the network again.")
    return {entry.key: entry.value for entry in content.metadata_props}


# OpenVINO


def _load_openvino(path: Path, threads: int | None) -> Deployed:
    check_libraries("running networks in OpenVINO", *(("openvino",) if path.suffix == ".xml" else ("openvino", "onnx")))
    openvino = quiet_import("openvino")
    model, metadata = read_openvino(path)
    images, logits = _only(path, model.inputs), _only(path, model.outputs)
    shapes = [
        tuple(-1 if size.is_dynamic else size.get_length() for size in port[0].partial_shape)[1:]
        for port in (images, logits)
    ]
    about = _described(path, metadata, images[0].element_type == openvino.Type.u8, *shapes)
    try:
        compiled = openvino_core().compile_model(model, "CPU", openvino_settings(threads))
        # One runs and one waits, so that the threads never do.
        queue = openvino.AsyncInferQueue(compiled, 2)
    except RuntimeError as error:
        raise DeployError(f"OpenVINO cannot compile {path}: {openvinos_reason(error)}") from None

    def done(request: Any, asked: "tuple[Future[Logits], Images]") -> None:
        asked[0].set_result(request.get_output_tensor(0).data.copy())

    def submit(batch: Images) -> "Future[Logits]":
        future: Future[Logits] = Future()
        try:
            # The pixels are read where they are, and stay alive as long as their request.
            queue.start_async({0: batch}, (future, batch), share_inputs=True)
        except RuntimeError as error:
            future.set_exception(DeployError(f"OpenVINO cannot run {path}: {openvinos_reason(error)}"))
        return future

    queue.set_callback(done)
    return Deployed(about, "openvino", submit, queue.wait_all, metadata)


def read_openvino(path: Path) -> tuple[Any, dict[str, str]]:
    """OpenVINO's model in a file, and what the file says of itself.

    Raises:
        DeployError: the file, or the .bin beside it, is missing or damaged.
    """
    if path.suffix == ".onnx":
        metadata = read_metadata(path)  # first: OpenVINO prints what it thinks of other files
        return _read_model(path), metadata
    return read_set(path.parent, path.name, lambda: _read_pair(path), DeployError)


def _read_pair(path: Path) -> tuple[Any, dict[str, str]]:
    if not path.with_suffix(".bin").is_file():
        raise DeployError(f"{path} needs {path.with_suffix('.bin').name} beside it, which holds the weights.")
    with suppress(OSError):
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:  # of which OpenVINO would give us the bytes
            text = ""
        if not text.lstrip().startswith(("<?xml", "<net")):
            raise DeployError(f"{path} is no OpenVINO file, or is damaged.")
    model = _read_model(path)
    metadata = {}
    if model.has_rt_info(["reslab"]):
        metadata = {f"reslab.{key}": str(text) for key, text in dict(model.get_rt_info(["reslab"]).value).items()}
    expected = metadata.get(BIN_DIGEST)
    if expected is not None and file_digest(path.with_suffix(".bin")) != expected:
        raise DeployError(f"{path.with_suffix('.bin')} is damaged, or belongs to another .xml; export again.")
    return model, metadata


def _read_model(path: Path) -> Any:
    try:
        return openvino_core().read_model(path)
    except RuntimeError as error:
        raise DeployError(f"OpenVINO cannot read {path}: {openvinos_reason(error)}") from None


# Both


def _only(path: Path, ports: list[Any]) -> list[Any]:
    if len(ports) != 1:
        raise DeployError(f"{path} has {len(ports)} inputs or outputs where one is expected.")
    return list(ports)


def _known(sizes: list[Any]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in sizes)


def _described(
    path: Path, metadata: Mapping[str, str], pixels: bool, shape: tuple[int, ...], outputs: tuple[int, ...]
) -> Description:
    """What the file says of its network, held to the graph."""
    if not pixels:
        raise DeployError(f"{path} does not take pixels; write it with `reslab export` and --input uint8.")
    if len(outputs) != 1 or outputs[0] < 1:
        raise DeployError(f"{path} does not answer one number a class; export it again.")
    try:
        about = Description.from_metadata(str(path), metadata, outputs[0])
    except DataError as error:
        raise DeployError(str(error)) from None
    if shape != about.preprocessing.shape:
        raise DeployError(f"{path} takes images of another shape than it says; export it again.")
    return about
