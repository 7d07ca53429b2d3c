// How the report looks: one column that fits a phone and a desk, in the light or the dark as the reader has it.

export const reportStyle = `
:root { color-scheme: light dark; --ground: #fbfbfa; --panel: #ffffff; --ink: #1c1e21; --quiet: #63676e; --line: #e3e4e6; --good: #14783c; --bad: #b3261e;
  --one: #1f5fd6; --two: #d9620b; --three: #7a7f87; --band: rgba(31, 95, 214, 0.07); }
@media (prefers-color-scheme: dark) { :root { --ground: #131518; --panel: #1b1e22; --ink: #e8e9eb; --quiet: #9aa0a8; --line: #2e3238; --good: #5cc987; --bad: #ff8a80;
  --one: #7aa7ff; --two: #ffa35c; --three: #9aa0a8; --band: rgba(122, 167, 255, 0.10); } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
header, main { max-width: 1080px; margin: 0 auto; padding: 16px; }
header { position: relative; padding-top: 28px; }
h1 { margin: 0 0 4px; font-size: 26px; padding-right: 90px; overflow-wrap: anywhere; }
h2 { margin: 0; font-size: 16px; }
p { margin: 2px 0; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); font-size: 13px; }
.verdict { position: absolute; right: 16px; top: 30px; padding: 2px 14px; border-radius: 99px; font-weight: 600; border: 1.5px solid; }
.holds { color: var(--good); } .fails { color: var(--bad); }
section { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; margin-bottom: 14px; }
section.cards { display: flex; flex-wrap: wrap; gap: 1px; padding: 0; overflow: hidden; background: var(--line); }
.card { flex: 1 1 112px; background: var(--panel); padding: 12px 14px; }
.card b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; white-space: nowrap; }
.card span { color: var(--quiet); font-size: 13px; }
.card.alarm b { color: var(--bad); }
.area { margin: 8px -6px 0; }
.uplot, .u-legend { font: 13px system-ui, sans-serif !important; color: var(--ink); }
.u-legend { text-align: left !important; padding-left: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
section > .scroll > table { width: 100%; margin-top: 6px; }
section > .scroll td, section > .scroll th { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
section > .scroll tr:last-child td { border-bottom: 0; }
section > .scroll th { color: var(--quiet); font-weight: 500; white-space: nowrap; }
section > .scroll td:first-child { color: var(--quiet); }
.numbers td:not(:first-child) { white-space: nowrap; }
.pairs td:last-child { text-align: right; padding-right: 0; white-space: nowrap; }
ul { margin: 6px 0 0; padding: 0; list-style: none; }
li { padding: 3px 0; overflow-wrap: anywhere; }
`;
