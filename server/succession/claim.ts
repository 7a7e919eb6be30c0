import type { Id } from '../../core/ids.ts';

/** The setting that keeps which server claims our place, that we have not named: for `doctor`. */
export const CLAIMED = 'takeover.claimed';

export type Claim = { readonly id: Id; readonly name: string; readonly at: number };

/** For people, of what is kept under `CLAIMED`. */
export function claimWords(text: string): string {
  const { name, at } = JSON.parse(text) as Claim;
  return `server ${name} says that it took the place of this one at ${new Date(at).toISOString()}, and was not named its deputy`;
}
