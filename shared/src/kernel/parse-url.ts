// Whoever is given a URL as text -> here.
// Guarantees: international names are read, however many URLs were read before. (Not so by `URL.canParse` of Node 20:
// once compiled for speed, it takes `https://bücher.example` for no URL. A lint rule forbids it.)

/** @returns undefined if it is not a URL, or relative to nothing */
export function parseUrl(text: string, base?: string): URL | undefined {
  try {
    return new URL(text, base);
  } catch {
    return undefined;
  }
}
