/**
 * What a host says in clear on a connection that is carried unread: whether it begins a message there, instead of going on to
 * TLS. Only the first octets of each line are looked at, and none at all after the server's 220 to STARTTLS.
 */
const MAX_VERB = 9;
const LF = 0x0a;
/** RFC 5321, and RFC 821's other three */
const BEGINS = /^(?:MAIL|SEND|SOML|SAML)\b/i;
const STARTTLS = /^STARTTLS\s*$/i;
const GO_ON = Buffer.from('220');

export class ClearWatch {
  #line = '';
  #hasAsked = false;
  #isOver = false;

  /** Octets of the host's. True when the end of a command that begins a message is among them. */
  fromHost(chunk: Buffer): boolean {
    if (this.#isOver) return false;
    for (const octet of chunk) {
      if (octet !== LF) {
        if (this.#line.length < MAX_VERB) this.#line += String.fromCharCode(octet);
        continue;
      }
      if (BEGINS.test(this.#line)) return true;
      this.#hasAsked = STARTTLS.test(this.#line);
      this.#line = '';
    }
    return false;
  }

  /** Octets of the server's. */
  fromServer(chunk: Buffer): void {
    if (!this.#hasAsked) return;
    this.#hasAsked = false;
    this.#isOver = chunk.subarray(0, GO_ON.length).equals(GO_ON);
  }
}
