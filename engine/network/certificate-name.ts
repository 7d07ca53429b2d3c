// The name in a client certificate that is taken as the user name. Fails closed: a certificate that has no name of the wanted kind, or more than one, or one that could be read in two ways, has none.
//
// Node gives the subjectAltName as one line of `Kind:value` entries between ", ", and quotes a value as a JSON string where it holds a character that could be taken for the line's own
// (CVE-2021-44532). It gives the subject as a line for each of its parts, escaped as in RFC 2253, and the parts' values in an object, unescaped.
import type { X509Certificate } from 'node:crypto';
import type { CertificateUser } from '../link.ts';

const NAME_BYTES_MAX = 1_024;
/** Kinds as node writes them. */
const KINDS = { san_dns: 'DNS', san_email: 'email', san_uri: 'URI' } as const;

/** The name; empty when there is not exactly one. */
export function nameInCertificate(certificate: X509Certificate, kind: CertificateUser): string {
  if (kind === 'none') return '';
  const name =
    kind === 'common_name'
      ? commonName(certificate)
      : kind === 'subject'
        ? subject(certificate)
        : alternative(certificate, KINDS[kind]);
  return isUsable(name) ? name : '';
}

/** The common name of the subject; empty when there is not exactly one. */
export function commonName(certificate: X509Certificate): string {
  const { CN } = certificate.toLegacyObject().subject as { CN?: unknown };
  return typeof CN === 'string' ? CN : '';
}

/** As RFC 4514 writes it: the last part first, with commas between. */
function subject(certificate: X509Certificate): string {
  return (certificate.subject ?? '').split('\n').reverse().join(',');
}

function alternative({ subjectAltName }: X509Certificate, kind: string): string {
  const entries = parseAlternatives(subjectAltName ?? '');
  const own = (entries ?? []).filter((entry) => entry.kind === kind);
  return own.length === 1 ? own[0]!.value : '';
}

export interface AlternativeName {
  readonly kind: string;
  readonly value: string;
}

/** The entries of node's subjectAltName; null when the line is not one that node writes. */
export function parseAlternatives(line: string): AlternativeName[] | null {
  const entries: AlternativeName[] = [];
  for (let at = 0; at < line.length; ) {
    const colon = line.indexOf(':', at);
    if (colon < 0) return null;
    const kind = line.slice(at, colon);
    const isQuoted = line[colon + 1] === '"';
    const end = isQuoted ? endOfQuoted(line, colon + 1) : endOfPlain(line, colon + 1);
    const value = isQuoted ? unquote(line.slice(colon + 1, end)) : line.slice(colon + 1, end);
    if (value === null) return null;
    entries.push({ kind, value });
    if (end < line.length && !line.startsWith(', ', end)) return null;
    at = end + 2;
  }
  return entries;
}

function endOfPlain(line: string, from: number): number {
  const comma = line.indexOf(', ', from);
  return comma < 0 ? line.length : comma;
}

/** Behind the quote that closes the one at `from`; the line's length when none does. */
function endOfQuoted(line: string, from: number): number {
  let at = from + 1;
  while (at < line.length && line[at] !== '"') at += line[at] === '\\' ? 2 : 1;
  return Math.min(at + 1, line.length);
}

function unquote(literal: string): string | null {
  try {
    const value: unknown = JSON.parse(literal);
    return typeof value === 'string' ? value : null;
  } catch {
    return null;
  }
}

/** A user name that shows all of itself: no control characters, U+0000 among them, and nothing that is not a character. */
function isUsable(name: string): boolean {
  return name !== '' && Buffer.byteLength(name) <= NAME_BYTES_MAX && !/[\p{Cc}\p{Cs}\p{Cn}\p{Co}]/u.test(name);
}
