"""The chunks of a PNG: their checksums, and what a file has besides pixels."""

import zlib

from reslab.errors import DataError

__all__ = ["essential"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_SAYING_HOW_IT_WAS_HELD = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
_LARGEST_TEXT = 1 << 18  # bytes: EXIF and XMP that say how a camera was held have a few thousand
_LARGEST_UNPACKED = 1 << 20  # at which Pillow refuses the file


def essential(data: bytes) -> bytes:
    """A PNG without colour profile and texts, which have no limit and change no pixel; anything else as it is.

    Pillow refuses a file with long ones, which are harmless to skip, and decodes pixels without looking at their
    checksums unless it is asked to.

    Raises:
        DataError: a chunk has another checksum than it says, or the file ends before the image does.
    """
    if not data.startswith(_SIGNATURE):
        return data
    view, position, kept, dropped = memoryview(data), len(_SIGNATURE), [], False
    while position < len(data):
        length, kind = int.from_bytes(view[position : position + 4]), bytes(view[position + 4 : position + 8])
        end = position + 12 + length
        if end > len(data):
            raise DataError("it is damaged: it is truncated in the middle of a chunk.")
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise DataError("it is damaged: its pixels have another checksum than it says.")
        content = view[position + 8 : end - 4]
        if kind == b"iCCP" or (kind in _TEXTS and not _is_wanted(content, kind)):
            dropped = True
        else:
            kept.append(view[position:end])
        position = end
        if kind == b"IEND":
            return b"".join([_SIGNATURE, *kept]) if dropped else data
    raise DataError("it is damaged: it is truncated before its end.")


def _is_wanted(content: memoryview, kind: bytes) -> bool:
    """Whether a text may say how the camera was held, in few words."""
    if len(content) > _LARGEST_TEXT or not bytes(content[:32]).startswith(_SAYING_HOW_IT_WAS_HELD):
        return False
    if kind == b"tEXt":
        return True
    start = bytes(content).find(b"\0") + (2 if kind == b"zTXt" else 5)
    try:
        unpacking = zlib.decompressobj()
        unpacking.decompress(content[start:], _LARGEST_UNPACKED)
    except zlib.error:
        return True  # not compressed, as most of iTXt is not
    return not unpacking.unconsumed_tail
