import type { Json } from '../../core/canonical-json.ts';
import type { Command } from '../../core/control-protocol.ts';
import type { Id } from '../../core/ids.ts';
import { acknowledge } from '../control/pulled.ts';
import { listCommands, listWaitingPeers, removeCommand } from '../db/control-queue.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { getReported, putReported } from '../db/reported.ts';
import { listDone, listSentKeys } from '../db/shared/commands.ts';
import type { Site } from '../site.ts';
import { type Fence, fenceWords } from '../succession/fence.ts';
import type { Shared } from './open.ts';

const WHAT = 'looking what became of commands';
const AT_ONCE = 500;

/**
 * What a fenced server had asked others to do and is not done: what lies in the database is done still, once, and forgotten here when it
 * is; everything else is taken back in words, because nobody will hear of it.
 */
export async function settleCommands(site: Site, fence: Fence, shared: Shared | undefined): Promise<void> {
  for (const receiver of await listWaitingPeers(site.db)) {
    const way = { sender: site.self.id, receiver };
    const upTo = (await shared?.read(WHAT, (db) => listDone(db, site.self.id, [receiver])))?.get(receiver);
    if (upTo !== undefined) await acknowledge(site, receiver, upTo);
    const there = new Set((await shared?.read(WHAT, (db) => listSentKeys(db, way)))?.map(({ id }) => id));
    for (const command of await listCommands(site.db, receiver, 0, AT_ONCE))
      if (!there.has(command.id)) await takeBack(site, fence, { receiver, command });
  }
}

async function takeBack(site: Site, fence: Fence, { receiver, command }: { receiver: Id; command: Command }): Promise<void> {
  const { id, seq, kind, dest, body } = command;
  const words = `it had not left this server when it was ${fenceWords(fence)}`;
  const orderId = (body as { orderId?: unknown } | null)?.orderId;
  const at = site.now();
  await inTransaction(site.db, async (trx) => {
    await removeCommand(trx, receiver, seq);
    const row = typeof orderId === 'string' ? await getReported(trx, { origin: dest as Id, kind: 'order', subject: orderId }) : undefined;
    if (kind === 'order.create' && row?.seq === 0) {
      const ended = { state: 'failed', note: null, endedAt: new Date(at).toISOString(), error: { code: 'fenced', message: words } };
      await putReported(trx, { ...row, body: { ...(row.body as Record<string, Json>), ...ended } });
    }
    const data = { command: id, kind, dest, words, ...(typeof orderId === 'string' ? { orderId } : {}) };
    await appendEvent(trx, { origin: site.self.id, at, actor: 'system', kind: 'control.taken-back', subject: id, data });
  });
  site.wake.notify('events');
}
