"""Which images a command line means: files, folders, patterns, addresses, lists of them, standard input."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from reslab.data.decoding import LARGEST_FILE
from reslab.data.names import is_image_name, is_litter, is_unreadable_name
from reslab.deploy.prediction import NamedImage, find_images
from reslab.errors import DataError
from reslab.files.download import fetch_bytes
from reslab.files.regular import read_regular
from reslab.texts import show_name

__all__ = ["STDIN", "given_images", "read_paths"]

STDIN = "-"
"""Stands for standard input."""
_MAGIC = frozenset("*?[")
_LARGEST_LIST = 1 << 28  # bytes, of two million paths and more
_KEPT = "%/:=&?~#+!$,;'@()*[]"  # of an address; other letters are written as servers want them


def given_images(
    words: Sequence[str], paths_from: str | None = None, *, allow_urls: bool = False, stdin: BinaryIO | None = None
) -> Iterator[Path | NamedImage]:
    """The images that are meant by words, in their order; what is wrong with one of them is said when it is read.

    Args:
        words: files, folders as in `find_images`, patterns (`photos/**/*.jpg`) of which the files with an image's name
            are meant, addresses (http, https), and `-` for an image's bytes on standard input.
        paths_from: list of files, folders and addresses, as in `read_paths`; they come last.
        allow_urls: whether addresses may be fetched.
        stdin: standard input; the process's own by default.

    Raises:
        DataError: no image is named, the list cannot be read, an address may not be fetched, or standard input is asked
            for twice; before any image is read.
    """
    if not words and paths_from is None:
        raise DataError("of which images? Give files or folders.")
    if [*words, paths_from].count(STDIN) > 1:
        raise DataError("standard input is a single image, or a list of paths; give - once.")
    source = stdin or getattr(sys.stdin, "buffer", None)
    paths = [] if paths_from is None else read_paths(paths_from, stdin=source)
    refused = [word for word in [*words, *paths] if _is_url(word)]
    if refused and not allow_urls:
        raise DataError(f"{show_name(refused[0])} is an address; give --allow-urls to fetch it, or a file.")
    return _images(words, paths, source)


def read_paths(source: str, *, stdin: BinaryIO | None = None) -> list[str]:
    """The paths in a list, separated by NUL where it has one, as `find -print0` writes them, and by lines elsewhere.

    Args:
        source: a file, or `-` for standard input.
        stdin: standard input; the process's own by default.

    Raises:
        DataError: the list cannot be read, is too large, or is empty.
    """
    name = "standard input" if source == STDIN else show_name(source)
    try:
        if source == STDIN:
            content = _all_of(stdin or getattr(sys.stdin, "buffer", None), _LARGEST_LIST)
        else:
            content = read_regular(Path(source), _LARGEST_LIST)
    except DataError as error:
        raise DataError(f"cannot read the list of paths in {name}: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read the list of paths in {name}: {error.strerror or error}.") from None
    content = content.removeprefix(b"\xef\xbb\xbf")  # as Windows begins a text
    entries = content.split(b"\0") if b"\0" in content else [line.removesuffix(b"\r") for line in content.split(b"\n")]
    found = [os.fsdecode(entry) for entry in entries if entry]
    if not found:
        raise DataError(f"the list of paths in {name} is empty.")
    return found


def _images(words: Sequence[str], paths: Sequence[str], stdin: BinaryIO | None) -> Iterator[Path | NamedImage]:
    for word in words:
        if word == STDIN:
            yield NamedImage(STDIN, partial(_all_of, stdin, LARGEST_FILE))
        elif _is_url(word):
            yield _behind(word)
        elif _MAGIC & set(word) and not os.path.lexists(word):
            yield from _matching(word)
        else:
            yield from find_images([word])
    for path in paths:
        yield from [_behind(path)] if _is_url(path) else find_images([path])


def _is_url(word: str) -> bool:
    return word.lower().startswith(("http://", "https://"))


def _behind(url: str) -> NamedImage:
    try:
        urlsplit(url)
    except ValueError as error:
        return NamedImage(url, _raising(f"it is no address: {error}."))
    return NamedImage(url, partial(fetch_bytes, quote(url, safe=_KEPT), LARGEST_FILE))


def _matching(pattern: str) -> Iterator[Path | NamedImage]:
    """Files of a pattern that have an image's name, by name; links to folders are not followed by `**`."""
    parts = Path(pattern).parts
    fixed = next(at for at, part in enumerate(parts) if _MAGIC & set(part))
    try:
        found = sorted(Path(*parts[:fixed]).glob("/".join(parts[fixed:])))
    except (ValueError, NotImplementedError, OSError) as error:
        yield NamedImage(pattern, _raising(f"it is no file, and no pattern: {error}."))
        return
    images = [path for path in found if is_image_name(path.name) or is_unreadable_name(path.name)]
    images = [path for path in images if not is_litter(path.name) and not path.is_dir()]
    yield from images
    if not images:
        yield NamedImage(pattern, _raising("no image file matches this pattern."))


def _raising(sentence: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise DataError(sentence)

    return read


def _all_of(stream: BinaryIO | None, most: int) -> bytes:
    content = b"" if stream is None else stream.read(most + 1)
    if len(content) > most:
        raise DataError(f"standard input has more than {most:,} bytes, the most that are read.")
    return content
