// Whoever is given a URL as text -> here.
// Guarantees: international names are read. (Not so by `URL.canParse` of Node 20, once it is compiled for speed.)

/** @returns undefined if it is not a URL, or relative to nothing */
export function parseUrl(text: string, base?: string): URL | undefined {
  try {
    return new URL(text, base);
  } catch {
    return undefined;
  }
}
