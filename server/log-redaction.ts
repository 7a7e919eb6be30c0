const SECRET_KEY = /token|password|passphrase|secret|nonce|authorization|cookie|private|credential|keypem|^key$|\.key$/i;
const HARMLESS_KEY = /^(tokenId|keyId|secretless)$/;
const MASK = '[masked]';
const PEM = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g;
/** Operator and enrolment tokens wherever they stand, bearer headers, and passwords in URLs. */
const TOKEN = /\bws[te]_[A-Za-z0-9_.-]{8,}/g;
const BEARER = /\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi;
const URL_PASSWORD = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@]*):[^\s/@]+@/gi;

/**
 * The value with secrets masked: members with secret-looking names, private keys, our tokens, bearer
 * headers, passwords in URLs. Errors become `{name, code, message, stack}`. Deeper than eight levels is cut.
 */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value);
  if (value === null || typeof value !== 'object') return typeof value === 'bigint' ? value.toString() : value;
  if (depth > 8) return '[too deep]';
  if (value instanceof Error) return redactError(value, depth);
  if (value instanceof Uint8Array) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.map((member) => redact(member, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, isSecretKey(key) ? mask(member) : redact(member, depth + 1)]),
  );
}

export function redactText(text: string): string {
  return text.replace(PEM, MASK).replace(TOKEN, MASK).replace(BEARER, `$1 ${MASK}`).replace(URL_PASSWORD, `$1:${MASK}@`);
}

function isSecretKey(key: string): boolean {
  return SECRET_KEY.test(key) && !HARMLESS_KEY.test(key);
}

function mask(value: unknown): unknown {
  return value === undefined || value === null || typeof value === 'boolean' ? value : MASK;
}

function redactError(error: Error, depth: number): object {
  const { code, cause } = error as Error & { code?: unknown };
  return {
    name: error.name,
    ...(code === undefined ? {} : { code }),
    message: redactText(error.message),
    ...(error.stack === undefined ? {} : { stack: redactText(error.stack) }),
    ...(cause === undefined ? {} : { cause: redact(cause, depth + 1) }),
  };
}
