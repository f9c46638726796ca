"""The style sheet of the report: one column, light and dark by the reader's setting, plain on paper."""

from collections.abc import Mapping

__all__ = ["style_sheet"]

_LIGHT = {
    "--ink": "#1b1f24", "--muted": "#59636e", "--grid": "#dfe3e8", "--paper": "#ffffff", "--ground": "#f6f7f9",
    "--accent": "#0b5cad", "--good": "#1a7f37", "--bad": "#b42318", "--warn": "#8a5a00", "--band": "#f1f4f7",
}  # fmt: skip
_DARK = {
    "--ink": "#e8ebef", "--muted": "#a2acb8", "--grid": "#343b45", "--paper": "#16191e", "--ground": "#0e1013",
    "--accent": "#7ab8ff", "--good": "#57c776", "--bad": "#ff8f85", "--warn": "#e8b64c", "--band": "#1e232a",
}  # fmt: skip

_RULES = """
:root { --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", "DejaVu Sans", sans-serif; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 var(--sans); }
main { max-width: 1180px; margin: 0 auto; padding: 40px 28px 72px; }
.kicker { color: var(--muted); font-size: 14px; margin: 0 0 10px; }
h1 { font-size: 29px; line-height: 1.22; letter-spacing: -0.012em; margin: 0 0 16px; max-width: 34em; text-wrap: balance; }
.answer { font-size: 19px; line-height: 1.5; margin: 0 0 28px; max-width: 48em; border-left: 4px solid var(--accent);
  padding: 2px 0 2px 18px; }
h2 { font-size: 20px; margin: 0 0 4px; letter-spacing: -0.005em; }
section { background: var(--paper); border: 1px solid var(--grid); border-radius: 10px;
  padding: 22px 24px 20px; margin: 0 0 20px; }
section > p { color: var(--muted); margin: 0 0 14px; max-width: 62em; font-size: 15px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px; margin: 0 0 22px; }
.tile { background: var(--paper); border: 1px solid var(--grid); border-top: 4px solid var(--key, var(--muted));
  border-radius: 10px; padding: 14px 18px; }
.tile b { display: block; font-size: 27px; line-height: 1.2; letter-spacing: -0.015em; font-variant-numeric: tabular-nums; }
.tile span { color: var(--muted); font-size: 14px; }
svg.figure { width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; margin: 0 -8px; padding: 0 8px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 8px; text-align: right; white-space: nowrap; vertical-align: baseline; }
th { font-weight: 600; color: var(--muted); }
thead th { border-bottom: 2px solid var(--grid); vertical-align: bottom; }
thead .over th { border-bottom: 0; padding-bottom: 0; text-align: center; }
th:first-child, td:first-child { text-align: left; }
tbody tr + tr td, tbody tr + tr th { border-top: 1px solid var(--grid); }
tbody tr.scene th { text-align: left; color: var(--ink); background: var(--band); padding-top: 9px; padding-bottom: 9px; }
tbody tr.scene th span { font-weight: 400; color: var(--muted); margin-left: .8em; }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 9px; background: var(--key); }
.detail { color: var(--muted); margin-left: .5em; }
.none { color: var(--muted); }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.left td, .left th { text-align: left; white-space: normal; }
.left td:first-child { white-space: nowrap; }
.left.facts td:first-child { color: var(--muted); }
.facts td { overflow-wrap: anywhere; }
code { font: 13.5px/1.5 ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
footer { color: var(--muted); font-size: 14px; margin-top: 24px; }
@media (max-width: 640px) { main { padding: 24px 14px 48px; } section { padding: 18px 14px; } h1 { font-size: 24px; } }
@media print {
  body { background: none; font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  section, .tile { border-color: #c9ced6; break-inside: avoid; padding: 10px 12px; }
  section.long { break-inside: auto; }
  tbody { break-inside: avoid; } .facts tbody { break-inside: auto; } tr { break-inside: avoid; }
  .key, .tile { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); }
  .scroll { overflow: visible; }
  table { font-size: 8pt; } th, td { padding: 2.5px 5px; }
  .answer { font-size: 13pt; } h1 { font-size: 19pt; } .tile b { font-size: 16pt; }
  @page { margin: 14mm 12mm; }
}
"""


def style_sheet(light: Mapping[str, str], dark: Mapping[str, str]) -> str:
    """Give the style sheet; the mappings are CSS variables besides its own, for either ground. Paper gets the light ones."""
    return (
        f":root {{ color-scheme: light dark; {_declared({**_LIGHT, **light})} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {_declared({**_DARK, **dark})} }} }}\n{_RULES}"
    )


def _declared(values: Mapping[str, str]) -> str:
    return " ".join(f"{name}: {value};" for name, value in values.items())
