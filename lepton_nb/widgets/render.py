"""HTML of panels, from templates that escape all they are given."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("lepton_nb.widgets", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def render(template: str, **values: Any) -> str:
    """The template `templates/NAME.html.j2` with these values."""
    return str(_environment().get_template(f"{template}.html.j2").render(**values))
