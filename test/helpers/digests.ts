import { createHash } from 'node:crypto';
import { type Digest, digestFromBytes } from '../../core/ids.ts';

export function hashOf(text: string): Digest {
  return digestFromBytes(createHash('sha256').update(text).digest());
}
