import type { Finding } from '../../core/server-health.ts';
import type { Site } from '../site.ts';

/** The database of a branch that is away for minutes is an ordinary night, as its link is. */
const AWAY_MS = 15 * 60_000;

/** How this server stands with the database where servers meet; none for one that meets nobody there. */
export function sharedFindings({ shared, now }: Pick<Site, 'shared' | 'now'>): Finding[] {
  if (shared === undefined) return [];
  const state = shared.state();
  const { where } = shared;
  if (state.state === 'unreachable') {
    const level = now() - state.since > AWAY_MS ? 'problem' : 'warning';
    // Its own words begin with its name, too.
    const why = state.words.startsWith(`${where}: `) ? state.words.slice(where.length + 2) : state.words;
    return [{ level, words: `the shared ${where} is unreachable: ${why}; machines boot and orders go on`, since: state.since }];
  }
  if (state.state === 'connected' && state.problem !== null) return [{ level: 'problem', words: state.problem, since: null }];
  const words = `meets the others in the ${where}: whoever has a login there can write what all of them read; replication by pull alone is the hardened mode`;
  return [{ level: 'notice', words, since: null }];
}
