import { z } from 'zod';
import type { Site } from '../site.ts';
import type { SharedState } from './state.ts';

/** How it stands with the shared database, as the API, `sync status` and `server show` tell it. */
export const SharedView = z.object({
  /** Its name and hosts; null: this server meets nobody in a database. */
  database: z.string().nullable(),
  state: z.enum(['none', 'unknown', 'connected', 'unreachable']),
  since: z.iso.datetime().nullable(),
  /** Why it is away, or what the registry there has against us. */
  code: z.string().nullable(),
  words: z.string().nullable(),
  hint: z.string().nullable(),
});
export type SharedView = z.infer<typeof SharedView>;

export function viewShared({ shared }: Pick<Site, 'shared'>): SharedView {
  if (shared === undefined) return { database: null, state: 'none', since: null, code: null, words: null, hint: null };
  const state = shared.state();
  const found = { database: shared.where, state: state.state, since: since(state) };
  if (state.state === 'unreachable') return { ...found, code: state.code, words: state.words, hint: state.hint };
  const words = state.state === 'connected' ? state.problem : null;
  return { ...found, code: words === null ? null : 'wrong_state', words, hint: null };
}

function since(state: SharedState): string | null {
  return state.state === 'unknown' ? null : new Date(state.since).toISOString();
}

/** For people; empty when there is none and nothing to say. */
export function sharedWords({ database, state, since: at, words }: SharedView): string {
  if (database === null) return '';
  const sentence = state === 'unreachable' ? `unreachable since ${at}` : state === 'connected' ? `connected since ${at}` : 'not used yet';
  return words === null ? `${database}: ${sentence}` : `${sentence}: ${words}`;
}
