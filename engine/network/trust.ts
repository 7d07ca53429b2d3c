// Whether the authorities of a listener vouch for a client's certificate: asked of connections that stand when the authorities change, as the handshake asked it of the ones before.
// A chain is followed from the certificate up to an authority that signed itself and is on the list, by name, signature and dates.
import { X509Certificate } from 'node:crypto';

/** More certificates than any chain has: some peer might send a circle. */
const CHAIN_MAX = 16;
const CERTIFICATE = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g;

/** @throws when one of them is broken */
export function certificatesOf(pem: Buffer): X509Certificate[] {
  return (pem.toString('latin1').match(CERTIFICATE) ?? []).map((text) => new X509Certificate(text));
}

export class Trust {
  readonly #authorities: readonly X509Certificate[];

  /** @param pem null: nobody is vouched for */
  constructor(pem: Buffer | null) {
    this.#authorities = pem === null ? [] : certificatesOf(pem);
  }

  /** `leaf` comes from the handshake, with those that the client sent above it. */
  vouchesFor(leaf: X509Certificate | undefined, wallMs: number): boolean {
    const sent: X509Certificate[] = [];
    for (let at = leaf?.issuerCertificate; at !== undefined && sent.length < CHAIN_MAX; at = at.issuerCertificate) sent.push(at);
    let current = leaf;
    for (let length = 0; current !== undefined && length < CHAIN_MAX; length++) {
      if (!isCurrent(current, wallMs)) return false;
      if (isSignedBy(current, current)) return this.#isListed(current);
      const subject: X509Certificate = current;
      // A root of version 1 does not say that it is an authority: the list does.
      const isIssuer = (other: X509Certificate) => (other.ca || this.#isRoot(other)) && isSignedBy(subject, other);
      current = this.#authorities.find(isIssuer) ?? sent.find(isIssuer);
    }
    return false;
  }

  #isRoot(certificate: X509Certificate): boolean {
    return isSignedBy(certificate, certificate) && this.#isListed(certificate);
  }

  #isListed({ fingerprint256 }: X509Certificate): boolean {
    return this.#authorities.some((authority) => authority.fingerprint256 === fingerprint256);
  }
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function isCurrent({ validFrom, validTo }: X509Certificate, wallMs: number): boolean {
  return Date.parse(validFrom) <= wallMs && wallMs <= Date.parse(validTo);
}
