import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Knex } from 'knex';
import { newId } from '../../core/ids.ts';
import { takeNumbers } from '../../server/db/shared/counters.ts';
import type { Site } from '../../server/site.ts';

/** A ledger, outside the system, of what servers wrote where they meet. */
export type Steps = {
  /** The numbers that were acknowledged, in the order of the answers. */
  readonly done: number[];
  /** The numbers of the steps that ended in words. */
  readonly refused: () => number;
  /** When a step of this server was acknowledged that began later than `since` (`performance.now`); undefined: none yet. */
  endOfFirst(site: Site, since: number): number | undefined;
  stop(): Promise<void>;
};

/**
 * Two writers for each server; each step takes the next number of one counter, so that one that is done twice, or by half, shows.
 * It is acknowledged, or refused in words.
 */
export function keepStepping(sites: readonly Site[], pauseMs: number): Steps {
  const done: number[] = [];
  const ends: { readonly id: string; readonly from: number; readonly at: number }[] = [];
  let refused = 0;
  let isOver = false;
  const keep = async (site: Site) => {
    while (!isOver) {
      const from = performance.now();
      await step(site).then(
        (number) => {
          done.push(number);
          ends.push({ id: site.self.id, from, at: performance.now() });
        },
        () => {
          refused += 1;
        },
      );
      await sleep(pauseMs);
    }
  };
  const running = Promise.all([...sites, ...sites].map(keep));
  return {
    done,
    refused: () => refused,
    endOfFirst: (site, since) => ends.find(({ id, from }) => id === site.self.id && from > since)?.at,
    stop: async () => {
      isOver = true;
      await running;
    },
  };
}

function step({ shared }: Site): Promise<number> {
  assert.ok(shared !== undefined);
  const name = `step ${newId()}`;
  const once = async (trx: Knex.Transaction) => {
    const fencing = await takeNumbers(trx, 'steps', 1);
    await trx('shared_leases').insert({ name, holder: null, fencing, expires_at: 0 });
    return fencing;
  };
  const find = async (db: Knex) => {
    const row = await db('shared_leases').where({ name }).first('fencing');
    return row && Number(row.fencing);
  };
  return shared.write('a test', once, find);
}

export const STEPS_OF = (database: string) =>
  `select cast(fencing as char) as number from ${database}.shared_leases where name like 'step %' order by fencing`;

/** Compares the ledger with what is there; returns what was acknowledged and is gone. Fails when a step was done twice or by half. */
export function compareSteps({ done, refused }: Steps, there: readonly number[]): number[] {
  assert.deepEqual(
    there,
    Array.from({ length: there.length }, (_, n) => n + 1),
    'numbers without gaps: no step was done twice or by half',
  );
  assert.equal(new Set(done).size, done.length, 'two were told the same number');
  // A step whose outcome nobody could read counts as refused and may be there.
  assert.ok(there.length <= done.length + refused(), `${there.length} steps for ${done.length}`);
  const kept = new Set(there);
  return done.filter((number) => !kept.has(number));
}
