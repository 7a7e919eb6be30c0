import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import type { Site } from '../site.ts';
import { keepChores } from './chores.ts';
import { BEAT, keepBeating } from './heartbeat.ts';
import type { SharedState } from './state.ts';

/**
 * What a running server does with the database where servers meet: it registers, shows that it lives, takes its turn at what
 * one does for all, and says when the database is away and when it is back. A server without one does nothing of it; one whose database is away lacks nothing
 * that a machine of its site needs.
 */
export function startShared(site: Site): { readonly close: () => Promise<void> } {
  const { shared } = site;
  if (shared === undefined) return { close: async () => {} };
  const stopping = new AbortController();
  shared.onChange((state) => void tellState(site, shared.where, state));
  const running = [keepBeating(site, shared, stopping.signal), keepChores(site, shared, stopping.signal)];
  return {
    close: async () => {
      stopping.abort();
      shared.onChange(() => {});
      await Promise.all(running);
    },
  };
}

async function tellState(site: Site, where: string, state: SharedState): Promise<void> {
  const isAway = state.state === 'unreachable';
  // Whoever was not heard for a while is not to be taken for silent.
  if (!isAway) site.wake.notify(BEAT);
  site.log[isAway ? 'warn' : 'info'](isAway ? 'the shared database is away' : 'the shared database is reached', {
    database: where,
    ...(isAway ? { code: state.code, error: state.words } : {}),
  });
  try {
    const event = isAway
      ? { kind: 'shared.unreachable', data: { code: state.code, words: state.words } }
      : { kind: 'shared.reached', data: {} };
    await inTransaction(site.db, (trx) =>
      appendEvent(trx, { origin: site.self.id, at: site.now(), actor: 'system', subject: site.self.id, ...event }),
    );
    site.wake.notify('events');
    site.wake.notify('shared');
  } catch (error) {
    site.log.error('the state of the shared database could not be noted', { error: String(error) });
  }
}
