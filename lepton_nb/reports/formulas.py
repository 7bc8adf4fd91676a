"""TeX as MathML, which browsers draw by themselves: no script, nothing to fetch."""

from __future__ import annotations

import html
from xml.etree import ElementTree


class Formulas:
    """How a renderer of nbconvert's Markdown writes formulas; comes first among the bases of its class."""

    def block_math(self, body: str) -> str:
        """A formula in $$ or brackets."""
        return mathml(body, block=True)

    def inline_math(self, body: str) -> str:
        """A formula in a line of text."""
        return mathml(body)

    def latex_environment(self, name: str, body: str) -> str:
        r"""A \begin{name} that stands in no dollars."""
        return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", block=True, dollars="")


def mathml(tex: str, *, block: bool = False, dollars: str | None = None) -> str:
    """The formula as HTML; one that cannot be read stays as it was written, between `dollars` (default: $$ or $)."""
    from latex2mathml.converter import convert

    tex = html.unescape(tex)
    # The package knows `aligned` by another name alone.
    known = tex.replace("{aligned}", "{align*}")
    try:
        found = str(convert(known, display="block" if block else "inline"))
        # It takes signs that it does not know over as they are: the page might then end in the formula. What is read
        # here begins with the element, so that it cannot declare anything.
        ElementTree.fromstring(found)  # noqa: S314
    except Exception:  # the package has a dozen kinds without a common base, and asserts too
        mark = ("$$" if block else "$") if dollars is None else dollars
        return html.escape(f"{mark}{tex}{mark}", quote=False)
    return found
