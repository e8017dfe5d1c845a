// logging -> here: the last check of a log line before it leaves the process.
// Guarantees: anything that looks like a credential (a JWT, a key's secret, a bearer, a credential in a query, a device
// token, a password in a URL, a private key) is replaced, wherever it stands in the line; everything else stays.

interface Rule {
  readonly form: RegExp;
  readonly instead: string;
}

const rules: readonly Rule[] = [
  { form: /\b(bearer[ .]+)[^\s"\\,]+/gi, instead: "$1[redacted]" },
  // 256 random bits as base64url after a dot: a producer's credential, a refresh token.
  { form: /([\w-]\.)[\w-]{43,}(?![\w-])/g, instead: "$1[secret]" },
  { form: /([?&](?:token|ticket|access_token)=)[^&\s"\\#]+/gi, instead: "$1[redacted]" },
  // An APNs device token, or a secret's hash.
  { form: /(?<![0-9a-z])[0-9a-f]{64,}(?![0-9a-z])/gi, instead: "[hex]" },
  { form: /(\b[a-z][a-z0-9+]{1,19}:\/\/[^\s:@/"\\]{0,256}:)[^\s@/"\\]{1,1024}@/gi, instead: "$1[redacted]@" },
  {
    form: /-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?/g,
    instead: "[private key]",
  },
];

/** @param line JSON, or any text */
export function hideSecrets(line: string): string {
  let hidden = line.includes("eyJ") ? hideTokens(line) : line;
  for (const { form, instead } of rules) hidden = hidden.replace(form, instead);
  return hidden;
}

/**
 * Hides compact JWS (RFC 7515): the header is JSON, and `{"` in base64url begins with eyJ. Written by hand to stay
 * linear: a single expression would start over at each `eyJ` in a long row of them.
 */
function hideTokens(line: string): string {
  return line.replace(/[\w.-]+/g, (run) => {
    if (!run.includes("eyJ")) return run;
    const parts = run.split(".");
    const shown: string[] = [];
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i] ?? "";
      const at = i + 2 < parts.length && parts[i + 1] !== "" ? part.search(/\beyJ[\w-]{6}/) : -1;
      if (at === -1) {
        shown.push(part);
      } else {
        shown.push(`${part.slice(0, at)}[token]`);
        i += 2;
      }
    }
    return shown.join(".");
  });
}
