import type { Knex } from 'knex';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { appendEvent } from '../db/events.ts';
import { markChanged } from '../db/outbox.ts';
import { deleteSetting, getSetting, setSetting } from '../db/settings.ts';
import type { Site } from '../site.ts';

/*
 * A server whose place another one took, and that lives. It enters `fenced` when it sees that; from then on it makes nothing, tells
 * nothing and gives nothing to any server, and goes on booting the machines of its own site. As somebody's child it is `returning`: what
 * that parent has replaces what it changed meanwhile, and only then does it tell and give again. The end of the first run ends it.
 */
const Fence = z.object({
  phase: z.enum(['fenced', 'returning']),
  /** Null: the database says that we are fenced, and not by whom. */
  successor: z.string().nullable(),
  name: z.string().nullable(),
  /** Of the promotion, epoch ms. */
  at: z.number(),
});
export type Fence = z.infer<typeof Fence>;

const KEY = 'fence';

export async function readFence(db: Knex): Promise<Fence | undefined> {
  const text = await getSetting(db, KEY);
  return text === undefined ? undefined : Fence.parse(JSON.parse(text));
}

/** Throws `fenced` while another server has our place: for whatever would make, tell or give something beyond our own site. */
export async function refuseFenced(db: Knex): Promise<void> {
  const fence = await readFence(db);
  if (fence?.phase === 'fenced') throw fencedError(fence);
}

/** As `refuseFenced`, and also until we hold what our new parent has: what we would give to others until then is of before. */
export async function refuseReturning(db: Knex): Promise<void> {
  const fence = await readFence(db);
  if (fence === undefined) return;
  if (fence.phase === 'fenced') throw fencedError(fence);
  throw new AppError('fenced', 'this server has come back as a child and has not replicated from its parent yet', {
    hint: 'at this server: waystation sync run',
  });
}

/** Writes down that another took our place, once. In the caller's transaction; true when it is news. */
export async function enterFence(
  site: Pick<Site, 'self' | 'now'>,
  trx: Knex,
  by: { readonly id: Id | null; readonly name: string | null; readonly at: number },
): Promise<boolean> {
  const known = await readFence(trx);
  if (known?.phase === 'fenced' && known.successor === by.id) return false;
  const fence: Fence = { phase: 'fenced', successor: by.id, name: by.name, at: by.at };
  await setSetting(trx, KEY, JSON.stringify(fence));
  const data = { words: fenceWords(fence), successor: by.id, name: by.name };
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor: 'system', kind: 'server.fenced', subject: site.self.id, data });
  await markChanged(trx, 'server', site.self.id);
  return true;
}

/** We are a child now: what the parent has is to come first. In the transaction that makes us one. */
export async function beginReturn(trx: Knex): Promise<void> {
  const fence = await readFence(trx);
  if (fence?.phase === 'fenced') await setSetting(trx, KEY, JSON.stringify({ ...fence, phase: 'returning' }));
}

/** In the transaction that publishes the first run of our new link. */
export async function endReturn(site: Pick<Site, 'self' | 'now'>, trx: Knex): Promise<void> {
  const fence = await readFence(trx);
  if (fence?.phase !== 'returning') return;
  await deleteSetting(trx, KEY);
  const data = { successor: fence.successor, name: fence.name };
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor: 'system', kind: 'server.returned', subject: site.self.id, data });
  await markChanged(trx, 'server', site.self.id);
}

/** For people. */
export function fenceWords({ phase, name, at }: Fence): string {
  const by = `server ${name ?? '(not known which)'} took its place at ${new Date(at).toISOString()}`;
  return phase === 'fenced' ? `fenced: ${by}` : `${by}; it is a child now, and its first run is not done`;
}

export function fencedError(fence: Fence): AppError {
  const parent = fence.name ?? 'PARENT';
  return new AppError('fenced', `this server is ${fenceWords(fence)}`, {
    hint: `make it a child: at ${parent} "waystation server parent set NAME --parent ${parent}", or "waystation server token" there and "server join" here`,
  });
}
