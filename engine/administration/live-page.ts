// The live page: one HTML file with everything in it (uPlot too), which asks /v1/live every second. It holds no figures itself, so that it may be had without a token; the policy
// lets it run what it holds, ask this port, and nothing else.
import { createHash } from 'node:crypto';
import { packagedText } from '../packaged.ts';
import { liveScript } from './live-script.ts';
import { liveStyle } from './live-style.ts';

export interface LivePage {
  readonly html: string;
  /** Content-Security-Policy. */
  readonly policy: string;
}

let made: LivePage | null = null;

export function livePage(): LivePage {
  made ??= make();
  return made;
}

function make(): LivePage {
  const styles = [asset('uPlot.min.css'), liveStyle];
  const scripts = [asset('uPlot.iife.min.js').replaceAll('</script', '<\\/script'), liveScript];
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Lethe</title>
${styles.map((style) => `<style>${style}</style>`).join('\n')}
</head>
<body>
<header>
<h1>Lethe <span class="quiet" id="version"></span></h1>
<p class="quiet" id="about"></p>
<p class="state" id="state" role="status">connecting</p>
</header>
<main>
<form id="login" hidden>
<label for="token">Token of the admin port (admin.token_file)</label>
<div><input id="token" type="password" autocomplete="off" spellcheck="false" required><button>Show</button></div>
<p class="quiet" id="wrong" role="alert"></p>
<p class="quiet">It is kept until this tab is closed, and sent to this broker only.</p>
</form>
<div id="figures" hidden>
<section class="cards" id="cards"></section>
<div class="plots">
${plot('throughput', 'Throughput', 'messages a second')}
${plot('clients', 'Connections', 'clients that are connected, and those that do not keep up')}
${plot('held', 'Held messages', 'held for sessions, and deliveries that wait to be sent')}
${plot('age', 'Oldest message held', 'its age')}
${plot('erasure', 'Erasure lag', 'how old the oldest consumed message was when its key was destroyed, and the bound')}
${plot('latency', 'Publish to deliver', 'inside of the broker, over the last 10 seconds')}
${plot('loop', 'Event loop delay', '99th percentile of the last 10 to 20 seconds, of the slowest shard')}
${plot('memory', 'Memory', 'of the process')}
</div>
<section><h2>By reason</h2><div class="reasons" id="reasons"></div></section>
<p class="foot"><button id="leave" type="button">Forget the token</button></p>
</div>
</main>
${scripts.map((script) => `<script>${script}</script>`).join('\n')}
</body>
</html>
`;
  const policy = [
    "default-src 'none'",
    `script-src ${scripts.map(hash).join(' ')}`,
    `style-src ${styles.map(hash).join(' ')}`,
    'img-src data:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  return { html, policy };
}

function asset(name: string): string {
  return packagedText(`uplot/dist/${name}`);
}

function plot(id: string, title: string, about: string): string {
  return `<section class="plot" id="${id}"><h2>${title}</h2><p class="quiet">${about}</p><div class="area"></div></section>`;
}

function hash(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
