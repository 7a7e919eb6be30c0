import { z } from 'zod';
import { AppError } from './errors.ts';

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const id = z.string().regex(/^[0-9a-f-]{36}$/);
const name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/);
const count = z.number().int().nonnegative();

/**
 * What a server holds, for who makes an archive file for it. It is a wish, not a proof: nothing is signed, and a wrong one
 * makes a file that is too large or cannot be loaded.
 */
export const Toc = z.object({
  format: z.literal(1),
  serverId: id,
  name,
  /** The server's own catalogue. */
  epoch: count,
  generation: count,
  /** How far it holds its parent's. */
  parent: z.object({ serverId: id, epoch: count, generation: count }).nullable(),
  /** Of core/content/frame.ts, those that it can unpack. */
  encodings: z.array(z.string().max(32)).max(16),
  /** Images whose content is there whole. */
  images: z.array(z.object({ name, version: z.string().max(63), kind: z.string().max(16), manifest: digest })).max(10_000),
});
export type Toc = z.infer<typeof Toc>;

/** Throws `bad_data`. */
export function parseToc(text: string): Toc {
  try {
    return Toc.parse(JSON.parse(text));
  } catch (cause) {
    throw new AppError('bad_data', 'this is no table of contents of a server', {
      hint: 'make it there: waystation archive toc --out FILE',
      cause,
    });
  }
}
