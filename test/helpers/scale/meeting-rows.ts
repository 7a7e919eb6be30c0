import type { Knex } from 'knex';
import type { Json } from '../../../core/canonical-json.ts';
import type { Id } from '../../../core/ids.ts';
import { wordsOf } from '../../../server/control/receive.ts';
import { putSharedStates, putSharedWords } from '../../../server/db/shared/reports.ts';
import { beat, insertSharedServer, type Registration } from '../../../server/db/shared/servers.ts';
import { lockStream, moveStream, type SharedStream } from '../../../server/db/shared/streams.ts';
import type { Shared } from '../../../server/shared/open.ts';
import type { ToldRow } from './told-rows.ts';

const WHAT = 'filling a database';
const AT_ONCE = 2_000;

/** Puts servers into the registry, each with a report of how it is and heard just now. */
export async function register(shared: Shared, servers: readonly Registration[], report: object): Promise<void> {
  const put = async (trx: Knex.Transaction) => {
    for (const server of servers) {
      await insertSharedServer(trx, server);
      await beat(trx, server.id, { ...report, id: server.id, name: server.name });
    }
  };
  await shared.write(WHAT, put, 'repeat');
}

/** Takes rows that servers told, in any order, and writes them as if those servers had told the database. */
export function meetingRows(shared: Shared): { readonly add: (row: ToldRow) => void; flush(): Promise<void> } {
  let waiting: ToldRow[] = [];
  return {
    add: (row) => void waiting.push(row),
    flush: async () => {
      const byOrigin = Map.groupBy(waiting, ({ origin }) => origin);
      waiting = [];
      for (const [origin, rows] of byOrigin)
        for (let start = 0; start < rows.length; start += AT_ONCE) await tell(shared, origin as Id, rows.slice(start, start + AT_ONCE));
    },
  };
}

async function tell(shared: Shared, origin: Id, rows: readonly ToldRow[]): Promise<void> {
  const items = rows.map(({ kind, subject, seq, body }) => ({ kind, subject, seq, body: JSON.parse(body) as Json }));
  const words = new Map(items.filter(({ kind }) => kind === 'target').map(({ subject, body }) => [subject, wordsOf(subject, body)]));
  const put = async (trx: Knex.Transaction) => {
    await putSharedStates(trx, origin, items, Date.now());
    await putSharedWords(trx, origin, words);
  };
  await shared.write(WHAT, put, 'repeat');
}

/** Says how far streams of servers are told, in the order given. */
export async function markTold(shared: Shared, marks: readonly { origin: Id; stream: SharedStream; seq: number }[]): Promise<void> {
  const put = async (trx: Knex.Transaction) => {
    for (const mark of marks) await moveStream(trx, mark, await lockStream(trx, mark.origin, mark.stream));
  };
  await shared.write(WHAT, put, 'repeat');
}
