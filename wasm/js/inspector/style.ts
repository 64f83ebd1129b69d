// The style of the panel. A page changes it by the properties at the top, and by `color-scheme`.

export const STYLE = `
:host {
  display: block; color-scheme: light dark; container-type: inline-size;
  --_ground: var(--hypertab-ground, light-dark(#ffffff, #16191c));
  --_ink: var(--hypertab-ink, light-dark(#1a1d1f, #e9ebec));
  --_soft: var(--hypertab-soft, light-dark(#565c61, #a5acb2));
  --_line: var(--hypertab-line, light-dark(#d9dad4, #343a41));
  --_sunken: var(--hypertab-sunken, light-dark(#f3f3ef, #1e2226));
  --_accent: var(--hypertab-accent, light-dark(#0b6b57, #4fd6b0));
  background: var(--_ground); color: var(--_ink);
  font: 14px/1.45 var(--hypertab-font, system-ui, sans-serif);
  border: 1px solid var(--_line); border-radius: 8px; padding: 12px 16px;
}
:host([hidden]) { display: none; }
[hidden] { display: none !important; }
h3 { font-size: 1em; margin: 0 0 6px; }
section + section { margin-top: 16px; padding-top: 12px; border-top: 1px solid var(--_line); }
dl { display: flex; flex-wrap: wrap; gap: 8px 24px; margin: 0 0 8px; }
dt { color: var(--_soft); font-size: .86em; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
p { margin: 0; color: var(--_soft); }
code { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; font-size: .93em; }
meter { width: 100%; height: 12px; accent-color: var(--_accent); }
.scroll { overflow-x: auto; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; white-space: nowrap; }
caption { text-align: start; color: var(--_soft); font-size: .86em; padding-bottom: 2px; }
th, td { text-align: start; font-weight: normal; padding: 3px 16px 3px 0; border-top: 1px solid var(--_line); }
thead th { color: var(--_soft); border-top: 0; font-size: .86em; }
details { border: 1px solid var(--_line); border-radius: 6px; padding: 6px 10px; }
details + details { margin-top: 6px; }
details[open] summary { margin-bottom: 8px; }
summary { cursor: pointer; display: grid; grid-template-columns: auto 1fr minmax(80px, 40%); gap: 12px; align-items: center; }
summary span { color: var(--_soft); font-variant-numeric: tabular-nums; }
svg { width: 100%; height: 18px; background: var(--_sunken); border: 1px solid var(--_line); border-radius: 3px; box-sizing: border-box; }
rect { fill: var(--_accent); shape-rendering: crispEdges; }
@container (max-width: 30em) { summary { grid-template-columns: auto 1fr; } svg { grid-column: 1 / -1; } th, td { padding-right: 12px; } }
@media (forced-colors: active) { rect { fill: CanvasText; } }
`
