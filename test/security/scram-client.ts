// The client's side of SCRAM-SHA-256, written from RFC 5802 alone: it shares nothing with the broker's side.
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';

const hmac = (key: Uint8Array, text: string) => createHmac('sha256', key).update(text).digest();

export class ScramClient {
  readonly #password: string;
  readonly #header: string;
  readonly #bare: string;
  #serverSignature = '';
  /** What the server said first. */
  salt = '';
  iterations = 0;
  nonce = '';

  constructor(user: string, password: string, { nonce = randomBytes(12).toString('base64'), header = 'n,,' } = {}) {
    this.#password = password;
    this.#header = header;
    this.#bare = `n=${user.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${nonce}`;
  }

  get first(): string {
    return this.#header + this.#bare;
  }

  /** client-final for what the server said; `nonce` and `header` as the client repeats them. */
  final(serverFirst: string, { nonce, header = this.#header }: { nonce?: string; header?: string } = {}): string {
    const [, theirs, salt, iterations] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst) as unknown as [
      string,
      string,
      string,
      string,
    ];
    this.salt = salt;
    this.iterations = Number(iterations);
    this.nonce = theirs;
    const salted = pbkdf2Sync(this.#password.normalize('NFKC'), Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256');
    const clientKey = hmac(salted, 'Client Key');
    const storedKey = createHash('sha256').update(clientKey).digest();
    const withoutProof = `c=${Buffer.from(header).toString('base64')},r=${nonce ?? theirs}`;
    const authMessage = `${this.#bare},${serverFirst},${withoutProof}`;
    const signature = hmac(storedKey, authMessage);
    const proof = Buffer.from(clientKey.map((byte, at) => byte ^ signature[at]!)).toString('base64');
    this.#serverSignature = hmac(hmac(salted, 'Server Key'), authMessage).toString('base64');
    return `${withoutProof},p=${proof}`;
  }

  /** Whether the server has shown that it knows the password. */
  trusts(serverFinal: string): boolean {
    return serverFinal === `v=${this.#serverSignature}`;
  }
}
