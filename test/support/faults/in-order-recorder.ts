// Tests only: what each client's application got, beside what was sent to it.
// Guarantees: notices any loss, duplicate or disorder; the caller numbers from 0 for each client.

export class InOrderRecorder {
  readonly #got: number[];
  readonly problems: string[] = [];

  constructor(clients: number) {
    this.#got = Array.from({ length: clients }, () => 0);
  }

  received(client: number, n: number): void {
    const expected = this.#got[client] ?? 0;
    if (n === expected) this.#got[client] = n + 1;
    else if (this.problems.length < 20) this.problems.push(`client ${client}: ${n}, not ${expected}`);
  }

  /** How many each has got without a gap. */
  counts(): readonly number[] {
    return this.#got;
  }
}
