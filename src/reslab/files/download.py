"""Downloads that resume, show their progress, and are verified before anyone reads them."""

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from reslab.console import progress_bar
from reslab.errors import DataError
from reslab.files.hashing import file_digest

__all__ = ["Resource", "fetch"]

_ATTEMPTS = 4
_TIMEOUT_SECONDS = 30.0
_CHUNK = 1 << 18
_MOST_BYTES = 4 << 30  # of a file whose size is not published


@dataclass(frozen=True)
class Resource:
    """A file on the network, with what it must contain.

    Args:
        url: of the file; `$RESLAB_MIRROR`, where set, takes the place of everything before the file's name.
        digest: `algorithm:hex`, e.g. `md5:c58f...`; of the hexadecimal digits, as many as are published.
        size: in bytes; a longer answer is cut off. None where it is not published: then the server's word counts.
    """

    url: str
    digest: str
    size: int | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return urlsplit(self.url).path.rsplit("/", 1)[-1]

    @property
    def address(self) -> str:
        """Where it is fetched from."""
        mirror = os.environ.get("RESLAB_MIRROR")
        return f"{mirror.rstrip('/')}/{self.name}" if mirror else self.url

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
        partial = path.with_name(path.name + ".part")
        problem = _transfer_with_retries(resource, partial, progress, retry_seconds)
        if not problem and not resource.is_whole(partial):
            # What lies there is no beginning of the right file: the next attempt must not build on it.
            partial.unlink()
            problem = "what was sent has another checksum than the published file"
        if problem:
            raise DataError(
                f"could not download {resource.address}: {problem}. Try again later, or fetch the file by other "
                f"means and put it at {path} (expected {resource.digest})."
            )
        os.replace(partial, path)
    return path


def _transfer_with_retries(resource: Resource, partial: Path, progress: bool, retry_seconds: float) -> str:
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
                    if resource.is_whole(partial):
                        return ""
                    partial.unlink(missing_ok=True)
                elif error.code < 500 and error.code != 429:
                    return problem
            except (OSError, HTTPException) as error:
                problem = str(getattr(error, "reason", error)) or type(error).__name__
            else:
                if partial.stat().st_size == size:
                    return ""
                problem = f"the server sent {partial.stat().st_size:,} of {size:,} bytes"
    return problem


def _transfer(resource: Resource, partial: Path, report: Callable[[int, int], object]) -> int:
    """Appends to the partial file what is missing; returns how long the whole file is."""
    start = partial.stat().st_size if partial.exists() else 0
    if start == resource.size:
        return start
    if resource.size is not None and start > resource.size:  # another file's
        start = 0
    request = urllib.request.Request(resource.address, headers={"User-Agent": "reslab"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
        if start and response.status != 206:  # the server ignores ranges and sends the whole file
            start = 0
        size = resource.size
        if size is None:
            stated = response.headers.get("Content-Length", "")
            size = start + int(stated) if stated.isdecimal() else _MOST_BYTES
            if size > _MOST_BYTES:
                raise OSError(f"the server offers {size:,} bytes, more than any file of weights has")
        with partial.open("ab" if start else "wb") as stream:
            done = start
            report(done, size)
            while done < size and (chunk := response.read1(min(_CHUNK, size - done))):
                stream.write(chunk)
                done += len(chunk)
                report(done, size)
        return done if resource.size is None and not stated.isdecimal() else size
