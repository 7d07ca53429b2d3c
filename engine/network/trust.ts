// Whether the authorities of a listener vouch for a client's certificate: asked of connections that stand when the authorities change, as the handshake asked it of the ones before.
// A chain is followed from the certificate up to an authority that signed itself and is on the list, by name, signature and dates. Where no way up is known, nobody vouches: the client comes again
// with a full handshake, and with what lies between.
import { X509Certificate } from 'node:crypto';

/** More certificates than any chain has: some peer might send a circle. */
const CHAIN_MAX = 16;
const CERTIFICATE = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g;

/** @throws when one of them is broken */
export function certificatesOf(pem: Buffer): X509Certificate[] {
  return (pem.toString('latin1').match(CERTIFICATE) ?? []).map((text) => new X509Certificate(text));
}

/** What is known of a certificate that signs others. */
interface Issuer {
  readonly certificate: X509Certificate;
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Certificates from clients that are remembered, beside those of the list. */
const SENT_MAX = 256;
/** Answers that are remembered of who has signed whom, among those that sign. */
const SIGNED_MAX = 4_096;

export class Trust {
  readonly #authorities: readonly Issuer[];
  readonly #listed: ReadonlySet<string>;
  /** Intermediates that clients have sent, by fingerprint: one whose TLS session was resumed has sent none. */
  readonly #sent = new Map<string, Issuer>();
  /** Whether one that signs was signed by another, by both fingerprints: asked once, not for each client below it. */
  readonly #signed = new Map<string, boolean>();

  /** @param pem null: nobody is vouched for */
  constructor(pem: Buffer | null) {
    this.#authorities = pem === null ? [] : certificatesOf(pem).map(issuerOf);
    this.#listed = new Set(this.#authorities.map(({ certificate }) => certificate.fingerprint256));
  }

  /** `leaf` comes from the handshake, with those that the client sent above it. */
  vouchesFor(leaf: X509Certificate | undefined, wallMs: number): boolean {
    if (leaf === undefined) return false;
    this.learn(leaf);
    const first = issuerOf(leaf);
    if (!isCurrent(first, wallMs)) return false;
    if (this.#isRoot(leaf)) return true;
    return this.#isReached(first, wallMs);
  }

  /** Remembers what a client has sent above its certificate. */
  learn(leaf: X509Certificate): void {
    let length = 0;
    for (let at = leaf.issuerCertificate; at !== undefined && length < CHAIN_MAX; at = at.issuerCertificate, length++) {
      const { fingerprint256 } = at;
      if (this.#listed.has(fingerprint256)) continue;
      if (this.#sent.has(fingerprint256)) return;
      if (this.#sent.size >= SENT_MAX) this.#sent.delete(this.#sent.keys().next().value!);
      this.#sent.set(fingerprint256, issuerOf(at));
    }
  }

  /** Looks along every way up, not along the first one alone: an authority may have signed another one crosswise. No certificate is looked at twice. */
  #isReached(leaf: Issuer, wallMs: number): boolean {
    const seen = new Set<string>();
    let level: Issuer[] = [leaf];
    for (let length = 0; level.length > 0 && length < CHAIN_MAX; length++) {
      const above: Issuer[] = [];
      for (const subject of level) {
        for (const issuer of [...this.#authorities, ...this.#sent.values()]) {
          const { fingerprint256 } = issuer.certificate;
          if (seen.has(fingerprint256) || !isCurrent(issuer, wallMs) || !this.#hasSigned(issuer, subject, subject === leaf))
            continue;
          if (this.#isRoot(issuer.certificate)) return true;
          seen.add(fingerprint256);
          above.push(issuer);
        }
      }
      level = above;
    }
    return false;
  }

  #hasSigned({ certificate: issuer }: Issuer, { certificate: subject }: Issuer, isLeaf: boolean): boolean {
    // A root of version 1 does not say that it is an authority: the list does.
    const isAble = () => (issuer.ca || this.#isRoot(issuer)) && isSignedBy(subject, issuer);
    if (isLeaf) return isAble();
    const key = subject.fingerprint256 + issuer.fingerprint256;
    const known = this.#signed.get(key);
    if (known !== undefined) return known;
    const has = isAble();
    if (this.#signed.size >= SIGNED_MAX) this.#signed.clear();
    this.#signed.set(key, has);
    return has;
  }

  /** An authority that has signed itself and is on the list. */
  #isRoot(certificate: X509Certificate): boolean {
    const { fingerprint256 } = certificate;
    if (!this.#listed.has(fingerprint256)) return false;
    const key = fingerprint256 + fingerprint256;
    const known = this.#signed.get(key);
    if (known !== undefined) return known;
    const has = isSignedBy(certificate, certificate);
    this.#signed.set(key, has);
    return has;
  }
}

function issuerOf(certificate: X509Certificate): Issuer {
  return { certificate, fromMs: Date.parse(certificate.validFrom), untilMs: Date.parse(certificate.validTo) };
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function isCurrent({ fromMs, untilMs }: Issuer, wallMs: number): boolean {
  return fromMs <= wallMs && wallMs <= untilMs;
}
