// plain-connections -> here: the Date of an answer.
// Guarantees: the form of RFC 9110; put together once a second.

export class HttpDates {
  #second = -1;
  #text = "";

  now(): string {
    const second = Math.floor(Date.now() / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#text = new Date(second * 1_000).toUTCString();
    }
    return this.#text;
  }
}
