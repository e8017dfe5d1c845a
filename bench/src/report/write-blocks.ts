// Bench: figures in pages of the documentation.
// Guarantees: only what stands between the marks is replaced; a page without them is refused.

/** @param blocks by name: what stands between `<!-- NAME: … -->` and `<!-- end of NAME -->` from now on */
export function withFigures(page: string, blocks: Readonly<Record<string, string>>): string {
  let written = page;
  for (const [name, text] of Object.entries(blocks)) {
    const [start, end] = [new RegExp(`<!-- ${name}: [^>]*-->\\n`).exec(written), `<!-- end of ${name} -->`];
    const to = written.indexOf(end);
    if (start === null || to < start.index) throw new Error(`the page has no marks for ${name}`);
    const from = start.index + start[0].length;
    written = `${written.slice(0, from)}\n${text}\n\n${written.slice(to)}`;
  }
  return written;
}
