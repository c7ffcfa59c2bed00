"""What a load test's page adds to the style sheet of all pages."""

OWN_STYLE = """
:root { --s0: #2563b8; --s1: #c8500a; --s2: #1c7c4a; --s3: #7a49d6; --s4: #b02468; --s5: #68727f;
  --failed: #c0262d; }
@media (prefers-color-scheme: dark) { :root { --s0: #6aa9f4; --s1: #f39c32; --s2: #5ecf93;
  --s3: #b99af5; --s4: #f27bb0; --s5: #8d97a5; --failed: #ff7a7a; } }
article p { color: var(--ink); margin: 2px 0; }
article .chip { margin-right: 10px; font-weight: 600; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 10px;
  margin: 18px 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 8px 12px; }
.tiles b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tiles small { color: var(--soft); display: block; line-height: 1.25; }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 28px; }
.charts h3 { margin-top: 0; }
.charts p, figure p { color: var(--soft); font-size: .9rem; margin: 2px 0 8px; }
.chart .s0 { --series: var(--s0); } .chart .s1 { --series: var(--s1); }
.chart .s2 { --series: var(--s2); } .chart .s3 { --series: var(--s3); }
.chart .s4 { --series: var(--s4); } .chart .s5 { --series: var(--s5); }
.chart .failed { --series: var(--failed); } .chart .ink { --series: var(--ink); }
.chart .target { --series: var(--failed); } .chart .found { --series: var(--well); }
.chart .line { fill: none; stroke: var(--series); stroke-width: 2; stroke-linejoin: round; }
.chart .band { fill: var(--series); fill-opacity: .14; }
.chart .cloud { fill: none; stroke: var(--series); stroke-width: 3.2; stroke-linecap: round;
  stroke-opacity: .45; }
.chart .cloud.failed { stroke-opacity: .9; }
.chart circle, .chart rect { fill: var(--series); fill-opacity: 1; }
.chart .mark { stroke: var(--series); stroke-dasharray: 5 4; stroke-width: 1.4; }
.chart .word { fill: var(--ink); font-size: 12px; font-weight: 600; }
details { margin: 28px 0 0; }
details .charts { margin-top: 18px; }
.legend { flex-wrap: wrap; gap: 2px 18px; margin: 2px 0 4px; }
.key::before { border-radius: 3px; background: var(--series); }
.key.s0 { --series: var(--s0); } .key.s1 { --series: var(--s1); } .key.s2 { --series: var(--s2); }
.key.s3 { --series: var(--s3); } .key.s4 { --series: var(--s4); } .key.s5 { --series: var(--s5); }
.key.failed { --series: var(--failed); } .key.ink { --series: var(--ink); }
.sheets { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr));
  gap: 4px 48px; align-items: start; }
.sheets table { min-width: 100%; }
.facts td { white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
.facts td:first-child { white-space: nowrap; color: var(--soft); }
th.number { text-align: right; padding-left: 8px; }
@media (max-width: 600px) {
  .chart .axis, .chart .word { font-size: 15.5px; }
  th, td { padding-right: 8px; font-size: .84rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); }
}
@media print { main { max-width: none; } figure, article { break-inside: avoid; } }
"""
