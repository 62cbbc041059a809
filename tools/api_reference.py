"""docs/api.md, made from the package's docstrings by griffe2md; `tools/update_docs.py` writes and checks it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
from griffe2md import default_config, render_object_docs

SOURCE = Path(__file__).resolve().parents[1] / "src"
PARTS = (
    "api",
    "training",
    "evaluation",
    "tasks",
    "explain",
    "deploy",
    "trained",
    "models",
    "data",
    "data.duplicates",
    "runs",
    "errors",
)
"""Packages and modules of the page, in its order; their public names are those in their `__all__`."""
INTRO = """\
# The Python API

Made from the docstrings by `python tools/update_docs.py`; do not edit it by hand. What a name begins with an
underscore, or is not in its module's `__all__`, may change without notice. [The tutorial](tutorial.md) shows the names
at work.

"""
_SETTINGS: dict[str, Any] = {
    **default_config,
    "docstring_options": {"returns_multiple_items": False, "returns_named_value": False},
    "show_submodules": False,
    "show_if_no_docstring": False,
}
_LINK = re.compile(r"\[([^\[\]]*)\]\(#([\w.]+)\)")


def api_page() -> str:
    """The page, in Markdown."""
    package = griffe.load("reslab", search_paths=[SOURCE], docstring_parser="google", resolve_aliases=True)
    assert isinstance(package, griffe.Module)
    homes = dict(_homes(package))
    home = {name: f"reslab.{part}" for part in reversed(PARTS) for name in homes[f"reslab.{part}"]}
    others = [name for name in homes["reslab"] if name not in home]
    names = [f"- [`reslab.{name}`](#{home.get(name, 'reslab')}.{name})" for name in homes["reslab"]]
    sections = [
        "\n".join(["## `reslab`", "", "`import reslab` loads each of these when it is first used:", "", *names])
    ]
    sections += [render_object_docs(package[name], {**_SETTINGS, "heading_level": 3}) for name in others]
    sections += [render_object_docs(package[part], {**_SETTINGS, "heading_level": 2}) for part in PARTS]
    return INTRO + _linked("\n\n".join(map(str.strip, sections)), package) + "\n"


def _homes(package: griffe.Module) -> Iterator[tuple[str, list[str]]]:
    """The public names of each part, of those that are no modules."""
    for path in ("", *PARTS):
        module = package[path] if path else package
        names = [str(name) for name in module.exports or ()]
        yield module.path, [name for name in names if name in module.members and not module[name].is_module]


def _linked(text: str, package: griffe.Module) -> str:
    """The text with links that lead to headings of this page, and without those that would not."""
    headings = re.findall(r"^#+ `([\w.]+)`$", text, re.MULTILINE)
    anchors: dict[str, str] = {}
    seen: dict[str, int] = {}
    for heading in headings:  # as GitHub makes them: letters, digits and underscores, and a number behind the second
        slug = re.sub(r"[^\w-]", "", heading.lower())
        anchors[heading] = f"{slug}-{seen[slug]}" if slug in seen else slug
        seen[slug] = seen.get(slug, 0) + 1
    public = {
        package[heading.removeprefix("reslab.")].canonical_path: heading for heading in headings if "." in heading
    }

    def link(match: re.Match[str]) -> str:
        place = public.get(match[2], match[2])
        return f"[{match[1]}](#{anchors[place]})" if place in anchors else match[1]

    return _LINK.sub(link, text).replace("- ****", r"- **\*\*").replace("- ***", r"- **\*")
