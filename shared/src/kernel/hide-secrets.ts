// logging -> here: the last look at a log line before it leaves the process.
// Guarantees: what has the form of a credential (a JWT, a key's secret, a bearer, a credential in a query, a device
// token, a password in a URL, a private key) is replaced, wherever in the line it stands; everything else stays.

interface Rule {
  readonly form: RegExp;
  readonly instead: string;
}

const rules: readonly Rule[] = [
  // A compact JWS (RFC 7515): its header is JSON, and `{"` in base64url begins with eyJ.
  { form: /\beyJ[\w-]{6,}\.[\w-]+\.[\w-]*/g, instead: "[token]" },
  { form: /\b(bearer[ .]+)[^\s"\\,]+/gi, instead: "$1[redacted]" },
  // 256 random bits as base64url behind a dot: a producer's credential, a refresh token.
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
  let hidden = line;
  for (const { form, instead } of rules) hidden = hidden.replace(form, instead);
  return hidden;
}
