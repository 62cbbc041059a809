"""Deployed files as they are written: under another name until they are whole."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reslab.deploy.engines import quiet_import
from reslab.deploy.runtime import BIN_DIGEST
from reslab.deploy.tracing import ExportError
from reslab.errors import WriteError
from reslab.files.atomic import atomic_path, naming
from reslab.files.hashing import file_digest
from reslab.files.sets import replace_set

__all__ = ["checked_path", "publish", "save_openvino", "writing", "writing_openvino"]


def checked_path(path: Path | str, suffix: str) -> Path:
    """The path, unless it is a folder's or has another suffix.

    Raises:
        ExportError: it is, or has.
    """
    path = Path(path)
    if path.is_dir():
        raise ExportError(f"{path} is a folder; give the name of a file that ends in {suffix}.")
    if path.suffix != suffix:
        raise ExportError(f"the file's name must end in {suffix}, and {path.name!r} does not.")
    return path


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` if nothing goes wrong."""
    with _as_export_error(), atomic_path(path) as temporary:
        yield temporary


@contextmanager
def _as_export_error() -> Iterator[None]:
    try:
        yield
    except WriteError as error:
        raise ExportError(str(error)) from None


@contextmanager
def writing_openvino(path: Path) -> Iterator[Path]:
    """A temporary .xml that becomes `path`, and its .bin the one beside it, if nothing goes wrong."""
    with _as_export_error(), naming(path), tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "model.xml"  # OpenVINO insists on the suffix
        yield temporary
        publish(temporary, path, (".xml", ".bin"))


def publish(source: Path, path: Path, suffixes: Sequence[str]) -> None:
    """Copies files that belong together to where they are wanted: after a crash all are the old ones, or the new ones.

    Args:
        source: the one by whose name all go.
        path: what it becomes; the others become those of its name.
        suffixes: of the files, of which the first is `path`'s.

    Raises:
        ExportError: a file cannot be written.
    """
    for suffix in suffixes:
        if path.with_suffix(suffix).is_dir():
            raise ExportError(f"cannot write {path.with_suffix(suffix)}: it is a folder.")
    names = {suffix: path.with_suffix(suffix).name for suffix in reversed(suffixes)}
    try:
        with replace_set(path.parent, list(names.values())) as temporary:
            for suffix, name in names.items():
                shutil.copyfile(source.with_suffix(suffix), temporary[name])
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}.") from None


def save_openvino(content: Any, path: Path, metadata: Mapping[str, str]) -> None:
    """Serialises OpenVINO's model to an .xml and the .bin beside it, with metadata and the .bin's digest among it."""
    openvino = quiet_import("openvino")
    for key, text in metadata.items():
        content.set_rt_info(text, key.split(".", 1))
    openvino.serialize(content, path)
    # Again, since the digest is known only now; the weights come out the same.
    content.set_rt_info(file_digest(path.with_suffix(".bin")), BIN_DIGEST.split(".", 1))
    openvino.serialize(content, path)
