"""Pages of HTML that need nothing beside them: templates with texts escaped, one style, pictures inside."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["inline_svg", "render_page", "render_text"]


def render_page(package: str, template: str, **values: Any) -> str:
    """A page of HTML from one of a package's templates; what is not given is an error, and texts are no markup.

    Args:
        package: that has the folder `templates`.
        template: file name.
        **values: that it shows; `style` is the style of all pages.
    """
    style = Markup(files("reslab.analysis").joinpath("templates/style.css").read_text(encoding="utf-8"))
    return _environment(package, autoescape=True).get_template(template).render(style=style, **values)


def render_text(package: str, template: str, **values: Any) -> str:
    """A text that is no HTML, likewise; nothing is escaped."""
    return _environment(package, autoescape=False).get_template(template).render(**values)


def inline_svg(svg: str) -> Markup:
    """An SVG as an element of a page, without its header, which names places on other machines."""
    return Markup(svg[svg.index("<svg") :])


def _environment(package: str, *, autoescape: bool) -> Environment:
    return Environment(
        loader=PackageLoader(package),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not autoescape,
    )
