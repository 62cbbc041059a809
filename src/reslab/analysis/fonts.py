"""Fonts for names in any script: those of this machine that have the characters."""

import unicodedata
from collections.abc import Iterable
from functools import cache, partial

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

__all__ = ["FIRST_FONT", "fonts_for"]

FIRST_FONT = "DejaVu Sans"
"""Comes with matplotlib; has Latin, Greek, Cyrillic, Arabic, Hebrew and others."""

_PLACEHOLDERS = "Last Resort"  # a font of boxes that say which script a character is of
_INVISIBLE = {"Cc", "Cf", "Zs", "Zl", "Zp"}  # Unicode's categories of what leaves no ink


def fonts_for(texts: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """Which fonts, in their order of precedence, draw some texts.

    Args:
        texts: to be drawn.

    Returns:
        Names of families, and the characters, sorted, that no font has.
    """
    text = unicodedata.normalize("NFC", "".join(texts))
    missing = frozenset(ord(character) for character in text if unicodedata.category(character) not in _INVISIBLE)
    families = [FIRST_FONT]
    missing -= _coverage(font_manager.findfont(FIRST_FONT))
    candidates = _regular_fonts() if missing else {}
    while missing:
        # The font with most of them, so that one script is drawn in one style.
        best = max(candidates, key=partial(_merit, missing, candidates), default=None)
        if best is None or not missing & _coverage(candidates[best]):
            break
        missing -= _coverage(candidates[best])
        families.append(best)
    return tuple(families), "".join(map(chr, sorted(missing)))


def _merit(missing: frozenset[int], candidates: dict[str, str], family: str) -> tuple[int, bool, str]:
    """Of two fonts that have as many of the characters, the one that is not monospaced."""
    return len(missing & _coverage(candidates[family])), "Mono" not in family, family


@cache
def _regular_fonts() -> dict[str, str]:
    """File by family, of upright fonts of usual weight."""
    found: dict[str, str] = {}
    for entry in font_manager.fontManager.ttflist:
        usual = entry.style == "normal" and entry.weight in (400, "normal", "regular", "book")
        if usual and not entry.name.startswith(_PLACEHOLDERS):
            found.setdefault(entry.name, entry.fname)
    return found


@cache
def _coverage(path: str) -> frozenset[int]:
    """Code points of which a font has the glyphs; none where the file has gone since it was listed."""
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
