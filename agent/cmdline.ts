import { AppError } from '../core/errors.ts';
import { type Digest, type Id, isDigest, isId } from '../core/ids.ts';

/** What the boot script told the engine on the kernel's command line; none of it is secret. */
export type BootFacts = {
  /** HTTPS base of the server, without a slash at the end. */
  readonly url: string;
  /** SHA-256 of the SPKI of the server's CA: the only thing the agent trusts. */
  readonly pin: Digest;
  readonly bootId: Id;
};

/**
 * Reads `ws.url=`, `ws.pin=` and `ws.boot=` from a kernel command line; other words are somebody else's.
 * Throws `config` naming the word that is missing or wrong.
 */
export function parseCommandLine(text: string): BootFacts {
  const words = new Map<string, string>();
  for (const word of text.trim().split(/\s+/)) {
    const at = word.indexOf('=');
    if (at > 0) words.set(word.slice(0, at), word.slice(at + 1));
  }
  const url = words.get('ws.url') ?? '';
  const pin = words.get('ws.pin') ?? '';
  const bootId = words.get('ws.boot') ?? '';
  if (!isHttpsUrl(url)) throw badWord('ws.url', 'an https:// address');
  if (!isDigest(pin)) throw badWord('ws.pin', 'sha256:<64 hex digits>');
  if (!isId(bootId)) throw badWord('ws.boot', 'a boot id');
  return { url: url.replace(/\/+$/, ''), pin, bootId };
}

function isHttpsUrl(text: string): boolean {
  return URL.canParse(text) && new URL(text).protocol === 'https:';
}

function badWord(word: string, expected: string): AppError {
  return new AppError('config', `the kernel command line has no usable ${word} (${expected})`, {
    hint: "boot the machine from the server's boot script",
  });
}
