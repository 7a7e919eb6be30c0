import type { ImageBody, ImageKind } from './image.ts';

/**
 * Of which images a child fetches the content. Objects always travel whole: what is out of scope is known and not held.
 * An absent member does not narrow; an empty list lets nothing through.
 */
export type Scope = {
  readonly kinds?: readonly ImageKind[] | undefined;
  /** `*` stands for any characters. */
  readonly names?: readonly string[] | undefined;
  readonly groups?: readonly string[] | undefined;
  /** Of the image's data (`usedBytes`), not of the disk it came from. */
  readonly maxSizeBytes?: number | undefined;
};

/** Everything. */
export const FULL_SCOPE: Scope = {};

type Facts = Pick<ImageBody, 'kind' | 'name' | 'group' | 'usedBytes'>;

export function isInScope(scope: Scope, image: Facts): boolean {
  const { kinds, names, groups, maxSizeBytes } = scope;
  if (kinds !== undefined && !kinds.includes(image.kind)) return false;
  if (names !== undefined && !names.some((pattern) => matchesPattern(pattern, image.name))) return false;
  if (groups !== undefined && (image.group === undefined || !groups.includes(image.group))) return false;
  return maxSizeBytes === undefined || image.usedBytes <= maxSizeBytes;
}

/** Whether a name fits a pattern in which each `*` stands for any characters, also none. No backtracking: names come from afar. */
export function matchesPattern(pattern: string, name: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return name === pattern;
  const last = rest.pop() ?? '';
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false;
  let at = first.length;
  const end = name.length - last.length;
  for (const piece of rest) {
    const found = name.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}
