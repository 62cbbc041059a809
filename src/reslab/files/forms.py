"""What a file is, by its first bytes, where it is not what its name says; and what to do about it."""

import re

__all__ = ["HEAD_BYTES", "foreign_form"]

HEAD_BYTES = 1024
"""Of a file's beginning that `foreign_form` looks at."""

_SAVE = "save `model.state_dict()` with torch.save"
# Beginnings, without white space before them and in small letters, and what files that have them are.
_TEXTS = (
    (b"version https://git-lfs", "is a pointer of git-lfs, not the file itself; fetch that with `git lfs pull`"),
    (b"<!doctype html", "is a web page; download the file itself, by the address of its raw content"),
    (b"<html", "is a web page; download the file itself, by the address of its raw content"),
    (b"<?xml", "is a text in XML (OpenVINO's graphs are such, and so are servers' refusals), not a file of weights"),
)
_BINARIES = (
    (b"\x1f\x8b", "is compressed by gzip; unpack it with `gunzip`"),
    (b"BZh", "is compressed by bzip2; unpack it with `bunzip2`"),
    (b"\xfd7zXZ\0", "is compressed by xz; unpack it with `unxz`"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd; unpack it with `unzstd`"),
    (b"7z\xbc\xaf", "is an archive of 7-Zip; unpack it"),
    (b"Rar!", "is an archive of RAR; unpack it"),
    (b"\x93NUMPY", f"is an array of NumPy, without names; {_SAVE}"),
    (b"\x89HDF", f"is an HDF5 file, as Keras writes them; {_SAVE}"),
    (b"GGUF", f"is a file of GGUF; {_SAVE}"),
    (b"%PDF", "is a PDF"),
    (b"\x89PNG", "is a picture"),
    (b"\xff\xd8\xff", "is a picture"),
)
_ONNX = re.compile(rb"\x08[\x01-\x20][\x12\x1a\x22\x28\x32\x3a\x42]")  # the version of the form, and the field after it
_TAR_PLACE, _TAR = 257, b"ustar"


def foreign_form(head: bytes) -> str:
    """What a file is that is no file of weights, and what to do: the end of a sentence that begins with its name.

    Args:
        head: the first `HEAD_BYTES` of the file.

    Returns:
        Nothing where the bytes are of no known form.
    """
    if not head:
        return "is empty: a download or a copy was cut short; fetch it again"
    if not head.strip(b"\0"):
        return "begins with nothing but zeros: a download or a disk failed; fetch it again"
    for beginning, what in _BINARIES:
        if head.startswith(beginning):
            return what
    if head[_TAR_PLACE:].startswith(_TAR):
        return "is an archive of tar; unpack it, and give a file in it"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, what in _TEXTS:
        if text.startswith(beginning):
            return what
    if text.startswith((b"{", b"[")) and _is_text(head):
        several = "weight_map" in head.decode("utf-8", "replace")
        return (
            "is the index of weights that lie in several files; join these into one"
            if several
            else "is a text in JSON, not a file of weights"
        )
    if _ONNX.match(head):
        return f"is an ONNX file, whose weights have no names of layers; {_SAVE}"
    if _is_text(head):
        return "is a text, not a file of weights; look into it, it may say why"
    return ""


def _is_text(head: bytes) -> bool:
    try:
        text = head[: HEAD_BYTES - 4].decode()  # a character may be cut at the end
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
