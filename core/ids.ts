import { randomBytes } from 'node:crypto';
import { AppError } from './errors.ts';

declare const brand: unique symbol;
type Branded<Kind extends string> = string & { readonly [brand]: Kind };

/** UUIDv7 text, lower case (RFC 9562 §5.7): ids of every row and object. */
export type Id = Branded<'Id'>;
/** `sha256:` and 64 lower-case hex digits. */
export type Digest = Branded<'Digest'>;
/** `[a-z0-9][a-z0-9._-]{0,62}`: servers, images, targets, data sources. */
export type Name = Branded<'Name'>;
/** Six octets, lower case, with colons. */
export type Mac = Branded<'Mac'>;

/** A new id. `now` is epoch milliseconds; `random` gives the 10 random octets. */
export function newId(now: number = Date.now(), random: Uint8Array = randomBytes(10)): Id {
  const time = now.toString(16).padStart(12, '0');
  const tail = Buffer.from(random).toString('hex');
  const variant = ((Number.parseInt(tail.slice(3, 5), 16) & 0x3f) | 0x80).toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${tail.slice(0, 3)}-${variant}${tail.slice(5, 7)}-${tail.slice(7, 19)}` as Id;
}

/** A new id that sorts after `newest`, also when the clock has been set back since that one was made. */
export function newIdAfter(newest: Id | undefined, now: number): Id {
  return newId(newest === undefined ? now : Math.max(now, timeOfId(newest) + 1));
}

/** The milliseconds that an id begins with: those of the clock it was made by, or more. */
function timeOfId(id: Id): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

export function isId(text: string): text is Id {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(text);
}

export function parseId(text: string): Id {
  if (!isId(text)) throw new AppError('usage', `"${printable(text)}" is not an id`, { hint: 'ids are UUIDv7 text' });
  return text;
}

export function isDigest(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

export function parseDigest(text: string): Digest {
  if (!isDigest(text))
    throw new AppError('bad_data', `"${printable(text)}" is not a digest`, { hint: 'digests are sha256:<64 hex digits>' });
  return text;
}

/** The 32 octets of a digest. */
export function digestBytes(digest: Digest): Buffer {
  return Buffer.from(digest.slice(7), 'hex');
}

/** A digest from its 32 octets. */
export function digestFromBytes(octets: Uint8Array): Digest {
  return `sha256:${Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength).toString('hex')}` as Digest;
}

/** What a name is, and that in words. */
export const NAME_RULE = {
  pattern: /^[a-z0-9][a-z0-9._-]{0,62}$/,
  words: 'names have 1 to 63 characters a-z 0-9 . _ - and start with a letter or digit',
} as const;

export function isName(text: string): text is Name {
  return NAME_RULE.pattern.test(text);
}

export function parseName(text: string): Name {
  if (!isName(text)) {
    throw new AppError('usage', `"${printable(text)}" is not a name`, { hint: NAME_RULE.words });
  }
  return text;
}

/** Accepts colons, dashes or nothing between octets, in any case. */
export function parseMac(text: string): Mac {
  const hex = text.replaceAll(/[:-]/g, '').toLowerCase();
  if (!/^[0-9a-f]{12}$/.test(hex)) throw new AppError('usage', `"${printable(text)}" is not a MAC address`);
  return hex.match(/../g)?.join(':') as Mac;
}

/** Hostile text made fit for a message: control and non-ASCII characters replaced, at most 80 characters. */
export function printable(text: string): string {
  return text.slice(0, 80).replaceAll(/[^\x20-\x7e]/g, '?');
}
