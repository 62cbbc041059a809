"""Running a deployed file: pixels in, logits out, whatever the engine."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from reslab.data.dataset import ImageData, Images
from reslab.data.preprocessing import Preprocessing
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

if TYPE_CHECKING:
    from reslab.deploy.source import Source

__all__ = [
    "BIN_DIGEST",
    "SUFFIXES",
    "Deployed",
    "Engine",
    "Logits",
    "deploy_network",
    "load_deployed",
    "read_metadata",
    "read_openvino",
]

Engine = Literal["onnxruntime", "openvino"]
Logits = NDArray[np.float32]

SUFFIXES = (".onnx", ".xml")
"""Of the files that can be run."""
BIN_DIGEST = "reslab.bin_sha256"
"""Key, in an OpenVINO file's metadata, of the digest of its weights, which are a file of their own."""

_PREPROCESSING = "reslab.preprocessing"
_CLASSES = "reslab.classes"


class Deployed:
    """A network that is ready to run: (N, H, W, C) uint8 pixels to (N, num_classes) float32 logits.

    Batches are run one after the other in the order in which they were submitted, each on all the threads: on a
    processor that is faster than several at once, and the caller can decode images meanwhile. Use as a context manager,
    or close.

    Args:
        name: to call it by in messages.
        engine: that runs it.
        preprocessing: that makes its input of an image file.
        num_classes: outputs.
        classes: their names; None where nobody wrote them down.
        metadata: of the file, by key.
        submit: starts a batch, and gives its logits when they are there.
        close: ends what `submit` needs.
    """

    def __init__(
        self,
        name: str,
        engine: str,
        preprocessing: Preprocessing,
        num_classes: int,
        classes: tuple[str, ...] | None,
        metadata: Mapping[str, str],
        submit: Callable[[Images], "Future[Logits]"],
        close: Callable[[], object],
    ) -> None:
        self.name, self.engine, self.preprocessing = name, engine, preprocessing
        self.num_classes, self.classes, self.metadata = num_classes, classes, metadata
        self._submit, self.close = submit, close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, images: Images) -> Logits:
        """The logits of a batch, as in `submit`."""
        return self.submit(images).result()

    def submit(self, images: Images) -> "Future[Logits]":
        """Starts a batch.

        Args:
            images: (N, H, W, C) uint8 of the shape that `preprocessing` has; not to be changed before the result.

        Returns:
            (N, num_classes) float32 logits when they are there, or a DeployError.

        Raises:
            DataError: images of another shape or type.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.preprocessing.shape:
            raise DataError(
                f"{self.name} takes uint8 images of shape {_by(self.preprocessing.shape)}, not {images.dtype} of shape "
                f"{_by(images.shape[1:])}."
            )
        if not len(images):
            raise DataError(f"{self.name} was given a batch of no images.")
        return self._submit(np.ascontiguousarray(images))

    def stream(self, batches: Iterable[Images], *, ahead: int = 2) -> Iterator[Logits]:
        """The logits of batch after batch, while the next ones are being made.

        Args:
            batches: as for `submit`.
            ahead: batches that wait or run at a time.
        """
        rest = iter(batches)
        waiting = [self.submit(images) for images in islice(rest, ahead)]
        while waiting:
            logits = waiting.pop(0).result()
            waiting += [self.submit(images) for images in islice(rest, 1)]
            yield logits

    def check(self, data: ImageData) -> None:
        """Raises DataError unless the data's images and classes are those that the file is for."""
        if data.image_shape != self.preprocessing.shape:
            raise DataError(
                f"{self.name} takes images of {_by(self.preprocessing.shape)}, but those of {data.name} are "
                f"{_by(data.image_shape)}."
            )
        if self.num_classes != data.num_classes:
            raise DataError(
                f"{self.name} is for {self.num_classes} classes, but {data.name} has {data.num_classes} classes."
            )
        if self.classes is not None and self.classes != data.classes:
            ours, theirs = next(pair for pair in zip(self.classes, data.classes, strict=True) if pair[0] != pair[1])
            raise DataError(f"{data.name} has the class {theirs!r} where {self.name} has {ours!r}.")


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
    if path.suffix not in SUFFIXES:
        raise DeployError(f"a deployed file ends in {' or '.join(SUFFIXES)}, and {path.name!r} does not.")
    if path.suffix == ".xml" and engine == "onnxruntime":
        raise DeployError(f"ONNX Runtime cannot run {path.name}, which is OpenVINO's; leave --engine out.")
    if not path.is_file():
        raise DeployError(f"there is no file {path}.")
    if threads is not None and threads < 1:
        raise DeployError(f"the threads must be positive, not {threads}.")
    if engine == "onnxruntime":
        return _load_onnxruntime(path, threads)
    return _load_openvino(path, threads)


def deploy_network(source: "Source", threads: int | None = None) -> Deployed:
    """A network of PyTorch behind the same interface.

    Args:
        source: the network, which must have a normalisation.
        threads: of torch; all available cores by default.

    Raises:
        DeployError: nobody knows how the network's inputs are normalised.
    """
    import torch

    from reslab.data.batches import to_channels_last
    from reslab.environment import available_cores

    normalization = source.known_normalization()
    network = source.model.eval().to(memory_format=torch.channels_last)
    torch.set_num_threads(threads or available_cores())

    def run(images: Images) -> Logits:
        with torch.inference_mode():
            logits: Logits = network(to_channels_last(normalization(images))).numpy()
        return logits

    submit, close = _in_order(run)
    metadata = source.metadata()
    num_classes = source.model.num_classes
    return Deployed(source.name, "torch", source.preprocessing, num_classes, source.classes, metadata, submit, close)


def _in_order(run: Callable[[Images], Logits]) -> tuple[Callable[[Images], "Future[Logits]"], Callable[[], object]]:
    """`run` in a thread of its own, so that the caller can make the next batch meanwhile."""
    thread = ThreadPoolExecutor(1, "inference")
    return lambda images: thread.submit(run, images), thread.shutdown


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

    return Deployed(str(path), "onnxruntime", *about, metadata, *_in_order(run))


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
    return Deployed(str(path), "openvino", *about, metadata, submit, queue.wait_all)


def read_openvino(path: Path) -> tuple[Any, dict[str, str]]:
    """OpenVINO's model in a file, and what the file says of itself.

    Raises:
        DeployError: the file, or the .bin beside it, is missing or damaged.
    """
    if path.suffix == ".onnx":
        metadata = read_metadata(path)  # first: OpenVINO prints what it thinks of other files
        return _read_model(path), metadata
    if not path.with_suffix(".bin").is_file():
        raise DeployError(f"{path} needs {path.with_suffix('.bin').name} beside it, which holds the weights.")
    with suppress(OSError):
        if not path.read_bytes().lstrip().startswith((b"<?xml", b"<net")):
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
) -> tuple[Preprocessing, int, tuple[str, ...] | None]:
    """Preprocessing, number of classes and their names, held to the graph."""
    if _PREPROCESSING not in metadata or not pixels:
        raise DeployError(
            f"{path} does not take pixels and say how they are made of an image; write it with `reslab export` and "
            "--input uint8."
        )
    preprocessing = Preprocessing.from_json(metadata[_PREPROCESSING])
    if shape != preprocessing.shape or len(outputs) != 1 or outputs[0] < 1:
        raise DeployError(f"{path} takes images of another shape than it says; export it again.")
    classes = None
    if _CLASSES in metadata:
        try:
            classes = tuple(json.loads(metadata[_CLASSES]))
        except (ValueError, TypeError, RecursionError):
            classes = ()
        if len(classes) != outputs[0] or not all(isinstance(name, str) for name in classes):
            raise DeployError(f"{path} does not say which {outputs[0]} classes it knows; export it again.")
    return preprocessing, outputs[0], classes


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
