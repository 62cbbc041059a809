"""Downloads that resume, show their progress, and are verified before anyone reads them."""

import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from reslab.console import progress_bar
from reslab.errors import DataError
from reslab.files.hashing import file_digest

__all__ = ["Resource", "fetch", "fetch_bytes"]

_ATTEMPTS = 4
_TIMEOUT_SECONDS = 30.0
_CHUNK = 1 << 18
_MOST_BYTES = 4 << 30  # of a file whose size is not published: more than any file of weights has


@dataclass(frozen=True)
class Resource:
    """A file on the network, with what it must contain.

    Args:
        url: of the file; `$RESLAB_MIRROR`, where set, takes the place of everything before the file's name.
        digest: `algorithm:hex`, e.g. `md5:c58f...`; of the hexadecimal digits, as many as are published.
        size: in bytes; a longer answer is cut off. None where it is not published: then the server's word counts.
        most: bytes that the server's word may be.
    """

    url: str
    digest: str
    size: int | None = None
    most: int = _MOST_BYTES

    @property
    def name(self) -> str:
        """The file's name."""
        return urlsplit(self.url).path.rsplit("/", 1)[-1]

    @property
    def address(self) -> str:
        """Where it is fetched from."""
        mirror = os.environ.get("RESLAB_MIRROR")
        return f"{mirror.rstrip('/')}/{self.name}" if mirror else self.url

    @property
    def is_verified(self) -> bool:
        """Whether a checksum is known."""
        return bool(self.digest.partition(":")[2])

    def is_whole(self, path: Path) -> bool:
        """Whether the file at `path` has the right content."""
        algorithm, _, digest = self.digest.partition(":")
        return path.is_file() and file_digest(path, algorithm).startswith(digest)


def fetch(resource: Resource, folder: Path, *, progress: bool = True, retry_seconds: float = 1.0) -> Path:
    """Downloads a file into `folder`, unless it is there already, whole.

    An interrupted download is continued where it stopped, also by a later call. Several processes may ask at once:
    one downloads, the others wait.

    Args:
        resource: what to download.
        folder: where to.
        progress: whether to show a progress bar.
        retry_seconds: wait before the second attempt; it doubles with each further one.

    Raises:
        DataError: the server cannot be reached, or sends another content than expected.
    """
    path = folder / resource.name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if resource.is_whole(path):
            return path
        partial = _Partial(path.with_name(path.name + ".part"))
        problem = _transfer_with_retries(resource, partial, progress, retry_seconds)
        if not problem and not resource.is_whole(partial.path):
            # What lies there is no beginning of the right file: the next attempt must not build on it.
            partial.drop()
            problem = "what was sent has another checksum than the published file"
        if problem:
            raise DataError(
                f"could not download {resource.address}: {problem}. Try again later, or fetch the file by other "
                f"means and put it at {path} (expected {resource.digest})."
            )
        os.replace(partial.path, path)
        partial.drop()
    return path


def fetch_bytes(url: str, most: int) -> bytes:
    """The content behind an address, which is kept nowhere; tried again as `fetch` does.

    Args:
        url: http or https.
        most: bytes that it may have.

    Raises:
        DataError: the server cannot be reached, or sends more; the message does not repeat the address.
    """
    with tempfile.TemporaryDirectory(prefix="reslab-") as folder:
        partial = _Partial(Path(folder, "content"))
        if problem := _transfer_with_retries(_Unmirrored(url, "", most=most), partial, progress=False, retry_seconds=1):
            raise DataError(f"could not download it: {problem}.")
        return partial.path.read_bytes()


class _Unmirrored(Resource):
    """What is no published file, which a mirror would have."""

    @property
    def address(self) -> str:
        return self.url


@dataclass(frozen=True)
class _Partial:
    """The beginning of a file, and by what the server knows the file that it is of.

    Args:
        path: of the beginning.
    """

    path: Path

    @property
    def _mark(self) -> Path:
        return self.path.with_name(self.path.name + "-of")

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def validator(self) -> str:
        """Its ETag, or the time of its last change; empty where the server told neither."""
        return self._mark.read_text(encoding="latin-1") if self._mark.exists() else ""

    def begin(self, validator: str) -> None:
        """An empty beginning of what the server has now."""
        self.path.write_bytes(b"")
        self._mark.write_text(validator, encoding="latin-1")

    def drop(self) -> None:
        """Removes it."""
        self.path.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)


class _TooLargeError(OSError):
    """A file of more bytes than are taken; asking again does not help."""


def _transfer_with_retries(resource: Resource, partial: _Partial, progress: bool, retry_seconds: float) -> str:
    problem = ""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns, enabled=progress) as bar:
        task = bar.add_task(f"Downloading {resource.name}", total=resource.size)
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(retry_seconds * 2 ** (attempt - 1))
            try:
                size = _transfer(resource, partial, lambda done, size: bar.update(task, completed=done, total=size))
            except urllib.error.HTTPError as error:
                problem = f"the server answers {error.code} {error.reason}"
                error.close()
                if error.code == 416:  # our part is as long as the server's file, or longer and so another file's
                    if resource.is_verified and resource.is_whole(partial.path):
                        return ""
                    partial.drop()
                elif error.code < 500 and error.code != 429:
                    return problem
            except _TooLargeError as error:
                return str(error)
            except (OSError, HTTPException) as error:
                problem = str(getattr(error, "reason", error)) or type(error).__name__
            else:
                if partial.size == size:
                    return ""
                problem = f"the server sent {partial.size:,} of {size:,} bytes"
    return problem


def _transfer(resource: Resource, partial: _Partial, report: Callable[[int, int], object]) -> int:
    """Appends to the partial file what is missing; returns how long the whole file is."""
    start, known = partial.size, partial.validator
    if start == resource.size and resource.is_verified:
        return start
    if resource.size is not None and start > resource.size:  # another file's
        start = 0
    if not known and not resource.is_verified:  # nobody could tell whether the file is still the same one
        start = 0
    request = urllib.request.Request(resource.address, headers={"User-Agent": "reslab", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
        if known:
            request.add_header("If-Range", known)
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
        validator = _validator(response.headers)
        if start and response.status == 206:
            _check_continues(partial, start, known, validator, response.headers.get("Content-Range", ""))
        else:  # the server ignores ranges, or has another file now, and sends all of it
            start = 0
        size = _size(resource, response, start)
        if not start:
            partial.begin(validator)
        with partial.path.open("ab") as stream:
            done = start
            report(done, size or resource.most)
            while done < (size or resource.most + 1) and (
                chunk := response.read1(min(_CHUNK, (size or resource.most + 1) - done))
            ):
                stream.write(chunk)
                done += len(chunk)
                report(done, size or resource.most)
        if done > resource.most and size is None:
            partial.drop()
            raise _TooLargeError(f"the server sends more than {resource.most:,} bytes, the most that are taken")
        return done if size is None else size


def _size(resource: Resource, response: HTTPResponse, start: int) -> int | None:
    """How long the whole file is; None where its end can be told, or its content be verified, without."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise OSError("the server sends the file compressed, which was not asked for")
    if resource.size is not None:
        return resource.size
    stated = response.headers.get("Content-Length", "")
    if stated.isdecimal():
        if start + int(stated) > resource.most:
            raise _TooLargeError(
                f"the server offers {start + int(stated):,} bytes, and {resource.most:,} are the most that are taken"
            )
        return start + int(stated)
    if not response.chunked and not resource.is_verified:  # it ends where the connection ends, for whatever reason
        raise OSError("the server does not say how long the file is, so that a part could not be told from all of it")
    return None


def _validator(headers: Message) -> str:
    """By what a server tells versions of a file apart: an ETag that means the same bytes, or the last change."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _check_continues(partial: _Partial, start: int, known: str, validator: str, content_range: str) -> None:
    """Raises OSError, and drops the partial file, if an answer does not go on where it ends."""
    if known and validator and validator != known:
        partial.drop()
        raise OSError("the file on the server has changed since its beginning was fetched")
    if content_range and not content_range.startswith(f"bytes {start}-"):
        partial.drop()
        raise OSError(f"the server was asked for what follows byte {start:,}, and sends {content_range}")
