"""The page's style sheet."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d1f24; --soft: #626a76; --line: #e2e5ea;
  --paper: #fff; --card: #f7f8fa; --error: #c0262d; --warning: #8a5000; --note: #2f6db5;
  --well: #1c7c4a; --reached: #2f6db5; --missed: #e07b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --soft: #9aa3b0; --line: #343944;
  --paper: #15171b; --card: #1d2026; --error: #ff7a7a; --warning: #f2b04c; --note: #7fb4f5;
  --well: #5ecf93; --reached: #6aa9f4; --missed: #f39c32; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 1.6rem; margin: 0 0 12px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 44px 0 12px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 28px 0 4px; }
p { margin: 4px 0 10px; max-width: 80ch; }
code, pre { font: .86em/1.45 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px; }
.verdict { font-size: 1.15rem; font-weight: 600; padding: 14px 16px; border-radius: 10px;
  border: 1px solid; max-width: none;
  background: color-mix(in srgb, currentColor 9%, transparent); }
.error { --tone: var(--error); } .warning { --tone: var(--warning); }
.note { --tone: var(--note); } .well { --tone: var(--well); }
.verdict, .counts b, .chip { color: var(--tone, var(--soft)); }
.counts { display: flex; gap: 24px; list-style: none; margin: 14px 0; padding: 0; }
nav { display: flex; gap: 18px; margin-top: 14px; }
a { color: var(--note); }
.counts b { font-size: 1.3rem; }
article { background: var(--card); border: 1px solid var(--line);
  border-left: 4px solid var(--tone); border-radius: 8px; padding: 12px 16px; margin: 10px 0; }
article h3 { margin: 0; display: flex; gap: 10px; align-items: baseline; flex-wrap: wrap; }
article h3 > span:not(.chip) { flex: 1 1 60%; font-weight: 600; }
article p { margin: 6px 0 2px; color: var(--soft); max-width: none; }
.chip { font-size: .74rem; border: 1px solid; border-radius: 99px; padding: 0 9px; flex: none; }
.count { flex: none; color: var(--tone); }
.examples { margin: 8px 0 2px; padding-left: 18px; columns: 2 380px; color: var(--soft); }
.wall { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 16px;
  margin: 6px 0; align-items: start; }
figure { margin: 0; }
figure img { width: 100%; height: auto; border-radius: 6px; display: block;
  border: 1px solid var(--line); }
figcaption { font-size: .86rem; display: flex; flex-direction: column; margin-top: 4px; }
figcaption span { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: 8px 0; min-width: 60%; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; padding-left: 8px; }
td.bar { width: 220px; min-width: 120px; }
td.bar i { display: block; height: 12px; background: var(--reached); border-radius: 2px;
  min-width: 1px; }
summary { cursor: pointer; color: var(--soft); font-size: .86rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 20px; }
.chart { width: 100%; height: auto; }
.chart line { stroke: var(--line); }
.chart .axis { fill: var(--soft); font-size: 12px; }
.chart .reached { fill: var(--reached); } .chart .missed { fill: var(--missed); }
.chart circle { fill-opacity: .55; }
.chart .anchor { fill: none; stroke: var(--ink); stroke-width: 1.3; }
.legend { display: flex; gap: 22px; font-size: .86rem; color: var(--soft); }
.key::before { content: ""; display: inline-block; width: 10px; height: 10px; margin-right: 6px; }
.key.reached::before { background: var(--reached); border-radius: 50%; }
.key.missed::before { background: var(--missed); border-radius: 50%; }
.key.anchor::before { border: 1.5px solid var(--ink); }
footer { margin-top: 48px; border-top: 1px solid var(--line); color: var(--soft);
  font-size: .86rem; }
"""
