// How the live page looks: one column on a phone, two on a desk, in the light or the dark as the reader has it.

export const liveStyle = `
:root { color-scheme: light dark; --ground: #fbfbfa; --panel: #ffffff; --ink: #1c1e21; --quiet: #63676e; --line: #e3e4e6; --good: #14783c; --bad: #b3261e;
  --one: #1f5fd6; --two: #d9620b; --three: #7a7f87; }
@media (prefers-color-scheme: dark) { :root { --ground: #131518; --panel: #1b1e22; --ink: #e8e9eb; --quiet: #9aa0a8; --line: #2e3238; --good: #5cc987; --bad: #ff8a80;
  --one: #7aa7ff; --two: #ffa35c; --three: #9aa0a8; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
header, main { max-width: 1280px; margin: 0 auto; padding: 12px 16px; }
header { position: relative; padding-top: 20px; padding-bottom: 0; }
h1 { margin: 0; font-size: 24px; line-height: 1.3; padding-right: 120px; }
h1 span { font-size: 15px; font-weight: 400; }
h2 { margin: 0; font-size: 16px; }
h3 { margin: 0 0 2px; font-size: 14px; font-weight: 600; }
p { margin: 2px 0; }
.quiet { color: var(--quiet); font-size: 13px; }
.state { position: absolute; right: 16px; top: 22px; padding: 1px 14px; border-radius: 99px; font-weight: 600; border: 1.5px solid; color: var(--quiet); }
.state.good { color: var(--good); } .state.bad { color: var(--bad); }
section, form { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; margin: 0 0 12px; min-width: 0; }
section.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(138px, 1fr)); gap: 1px; padding: 0; overflow: hidden; background: var(--line); }
.card { background: var(--panel); padding: 10px 14px; min-width: 0; }
.card b { display: block; font-size: 21px; line-height: 1.3; font-variant-numeric: tabular-nums; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.card span { color: var(--quiet); font-size: 13px; display: block; line-height: 1.35; }
.card.alarm b { color: var(--bad); }
.plots { display: grid; grid-template-columns: 1fr 1fr; gap: 0 12px; align-items: start; }
@media (max-width: 760px) { .plots { grid-template-columns: minmax(0, 1fr); } }
.area { margin: 6px -8px 0 -6px; }
.uplot, .u-legend { font: 13px system-ui, sans-serif !important; color: var(--ink); }
.u-legend { text-align: left !important; padding-left: 6px; }
.u-legend .u-series > * { padding: 0 4px 0 0; }
.reasons { display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); gap: 12px 32px; margin-top: 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td { padding: 3px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
td:last-child { text-align: right; white-space: nowrap; padding-left: 12px; }
tr:last-child td { border-bottom: 0; }
form { max-width: 520px; margin: 24px auto; }
form div { display: flex; gap: 8px; margin: 6px 0; }
input { flex: 1; min-width: 0; font: inherit; padding: 7px 10px; border: 1px solid var(--line); border-radius: 8px; background: var(--ground); color: var(--ink); }
button { font: inherit; padding: 7px 16px; border: 1px solid var(--line); border-radius: 8px; background: var(--ground); color: var(--ink); cursor: pointer; }
form button { background: var(--one); border-color: var(--one); color: var(--panel); font-weight: 600; }
#wrong { color: var(--bad); }
.foot { text-align: right; }
`;
