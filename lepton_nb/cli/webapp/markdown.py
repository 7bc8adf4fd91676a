"""How Voilà renders Markdown in our apps."""

from __future__ import annotations

from voila.exporter import VoilaMarkdownRenderer

from lepton_nb.reports.formulas import Formulas


class WithFormulas(Formulas, VoilaMarkdownRenderer):  # type: ignore[misc]
    """Voilà's renderer, with TeX as MathML."""
