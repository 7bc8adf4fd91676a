"""How panels look: JupyterLab's own colours, which Voilà has too, so that light and dark follow the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets


def side_by_side(children: Sequence[Any], **layout: Any) -> ipywidgets.HBox:
    """Widgets side by side, and below each other where the page is too narrow for that."""
    return ipywidgets.HBox(children, layout=ipywidgets.Layout(**{"flex_flow": "row wrap"} | layout))


def fitting_columns(least: str, most: int | None = None) -> str:
    """Of a grid: as many equal columns, at most `most`, as have room; none is narrower than `least` or the page."""
    wide = least if most is None else f"max({least}, calc({100 / most:.4f}% - 1.5rem))"
    return f"repeat(auto-{'fit' if most is None else 'fill'}, minmax(min(100%, {wide}), 1fr))"


STYLE = """<style>
.lepton-panel { border: 1px solid var(--jp-border-color2, #ccc); border-radius: 4px; padding: 8px 14px 12px;
  background: var(--jp-layout-color1, transparent); color: var(--jp-ui-font-color1, inherit); overflow: visible; }
.lepton-panel .widget-html, .lepton-panel .widget-html-content { line-height: 1.45; height: auto; }
.lepton-panel .widget-html-content { width: 100%; color: var(--jp-ui-font-color1, inherit); }
.lepton-title { font-size: 1.15rem; font-weight: 600; margin: 2px 0 0; }
.lepton-status { color: var(--jp-ui-font-color1, inherit); opacity: .85; min-height: 1.45em; }
.lepton-fault { color: var(--jp-error-color0, #b00020); font-size: .9em; }
.lepton-error { border-left: 4px solid var(--jp-error-color1, #d32f2f); background: var(--jp-layout-color2, #f3f3f3);
  padding: 6px 10px; margin: 4px 0; overflow-wrap: anywhere; }
.lepton-error summary { cursor: pointer; margin-top: 4px; }
.lepton-error pre { max-height: 16rem; overflow: auto; font-size: .8rem; white-space: pre; }
.lepton-panel table { border-collapse: collapse; width: 100%; font-size: .87rem; }
.lepton-panel caption { text-align: left; font-weight: 600; padding: 4px 0; color: var(--jp-ui-font-color1, inherit); }
.lepton-panel th, .lepton-panel td { padding: 3px 10px 3px 0; text-align: left;
  border-bottom: 1px solid var(--jp-border-color2, #ddd); font-variant-numeric: tabular-nums; }
.lepton-panel th.number, .lepton-panel td.number { text-align: right; }
.lepton-panel pre.lepton-log, .lepton-error pre { font-family: var(--jp-code-font-family, monospace); }
.lepton-panel pre.lepton-log { max-height: 18rem; overflow: auto; font-size: .8rem; margin: 4px 0;
  background: var(--jp-layout-color2, #f3f3f3); padding: 6px 8px; }
.lepton-panel .lepton-log-box { display: flex; flex-direction: column-reverse; max-height: 18rem; overflow: auto; }
.lepton-panel .lepton-log-box pre.lepton-log { max-height: none; overflow: visible; }
.lepton-panel .lepton-wide { overflow-x: auto; max-width: 100%; }
.lepton-panel .lepton-line { margin: 2px 0; }
.lepton-panel .lepton-line a { color: var(--jp-content-link-color, #0072b2); text-decoration: underline; }
.lepton-panel ul.lepton-line { padding-left: 1.2em; }
.lepton-grid > .lepton-cell { min-width: 0; }
.lepton-grid > .lepton-cell > * { flex: 1 1 auto; min-width: 0; width: 100%; }
.lepton-page { container: lepton-page / inline-size; }
@container lepton-page (max-width: 50rem) {
  .lepton-grid { display: flex !important; flex-direction: column; }
}
.lepton-panel .jupyter-widgets { max-width: 100%; }
.lepton-form { container: lepton-form / inline-size; }
@container lepton-form (max-width: 22rem) {
  .lepton-form .widget-inline-hbox:not(.widget-checkbox) {
    flex-direction: column; align-items: stretch; height: auto !important; }
  .lepton-form .widget-inline-hbox > :is(select, input) { flex: 0 0 auto; width: 100%; }
  .lepton-form .widget-inline-hbox > .widget-label { width: auto !important; text-align: left; }
  .lepton-form .lepton-below { margin-left: 0 !important; }
}
@media (max-width: 30rem) {
  .lepton-panel { padding: 6px 6px 8px; }
  .lepton-cell > .lepton-panel { border-width: 1px 0 0; border-radius: 0; }
}
.lepton-panel .lm-TabBar-tab { color: var(--jp-ui-font-color0, inherit) !important; }
.lepton-panel .lepton-fold { display: block; width: 100%; padding: 6px 4px; text-align: left; font-weight: 600;
  font-size: .92rem; color: var(--jp-ui-font-color0, inherit); background: none; cursor: pointer; border: 0;
  border-top: 1px solid var(--jp-border-color2, #ddd); }
.lepton-panel .lepton-folded { padding: 0 0 8px 4px; }
.lepton-form { overflow: visible; min-width: 0; }
.lepton-heading { font-size: .95rem; font-weight: 600; margin: 6px 0 2px; }
.lepton-panel dl.lepton-facts { display: flex; flex-wrap: wrap; gap: 6px 28px; margin: 6px 0; }
.lepton-panel dl.lepton-facts dt, .lepton-panel dl.lepton-facts dd { float: none; width: auto; margin: 0; padding: 0; }
.lepton-panel dl.lepton-facts dt { font-size: .8rem; font-weight: 400; opacity: .85; }
.lepton-panel dl.lepton-facts dd { font-weight: 600; font-variant-numeric: tabular-nums; }
.lepton-note { font-size: .87rem; opacity: .85; }
.lepton-panel .jupyter-button { max-width: 100%; text-overflow: ellipsis; }
.lepton-panel .jupyter-button:focus-visible, .lepton-panel summary:focus-visible, .lepton-panel pre:focus-visible,
.lepton-panel [tabindex="0"]:focus-visible { outline: 2px solid #0072b2; outline-offset: 1px; }
.lepton-panel input:focus-visible, .lepton-panel select:focus-visible, .lepton-panel .lepton-fold:focus-visible,
.lepton-panel .lm-TabBar-tab:focus-visible { outline: 2px solid #0072b2 !important; outline-offset: -2px; }
</style>"""
