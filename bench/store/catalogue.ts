import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Envelope } from '../../core/envelope.ts';
import { digestOf } from '../../core/envelope.ts';
import { type Id, newId } from '../../core/ids.ts';
import { listSharedObjects, type Numbered, putSharedObjects } from '../../server/db/shared/objects.ts';
import { listMoved, lockStream, moveStream } from '../../server/db/shared/streams.ts';
import { openShared, type Shared } from '../../server/shared/open.ts';
import { type Mariadb, startMariadb } from '../../test/helpers/mariadb.ts';

/*
 * What it costs a server to hear of the catalogue of all others in a shared database, on a MariaDB that is started here: all of it in
 * pages, all of it row by row, what changed of it, and the look that finds nothing. Read and parsed, as the exchange does before it
 * verifies and stores.
 */
export type CatalogueBench = {
  readonly objects: number;
  readonly changes: number;
  readonly fullSeconds: number;
  readonly rowByRowSeconds: number;
  readonly incrementalSeconds: number;
  /** Median of a look that finds nothing, with a hundredth of the objects there and with all of them. */
  readonly emptyMs: { readonly few: number; readonly all: number };
};

const PAGE = 500;
const LOOKS = 500;

type Told = { readonly origin: Id; readonly ids: Id[]; seq: number };

export async function benchCatalogue({
  objects,
  changes,
  origins,
}: {
  objects: number;
  changes: number;
  origins: number;
}): Promise<CatalogueBench> {
  const root = await mkdtemp(join(tmpdir(), 'waystation-bench-store-'));
  let mariadb: Mariadb | undefined;
  let shared: Shared | undefined;
  try {
    mariadb = await startMariadb(['--innodb-buffer-pool-size=256M']);
    mariadb.createDatabase('meet');
    const hosts = [`127.0.0.1:${mariadb.port}`];
    shared = openShared({ kind: 'mysql', hosts, user: 'waystation', name: 'meet', password: mariadb.password }, Date.now);
    await shared.prepare();
    const all: Told[] = Array.from({ length: origins }, () => ({ origin: newId(), ids: [], seq: 0 }));
    await tellMore(shared, all, Math.ceil(objects / 100));
    const few = await medianLook(shared);
    await tellMore(shared, all, objects - Math.ceil(objects / 100));
    const held = new Map<Id, number>();
    const full = await timed(() => pull(shared as Shared, held, 0));
    if (full.result !== objects) throw new Error(`${full.result} objects were read, ${objects} are there`);
    const mark = await newestMark(shared);
    const byRow = await timed(() => rowByRow(shared as Shared, all));
    await change(shared, all, changes);
    const incremental = await timed(() => pull(shared as Shared, held, mark));
    if (incremental.result !== changes) throw new Error(`${incremental.result} changes were read, ${changes} were made`);
    return {
      ...{ objects, changes, fullSeconds: full.seconds, rowByRowSeconds: byRow.seconds, incrementalSeconds: incremental.seconds },
      emptyMs: { few, all: await medianLook(shared) },
    };
  } finally {
    await shared?.close();
    await mariadb?.stop();
    await rm(root, { recursive: true, force: true });
  }
}

/** As the exchange reads: which streams moved, and their objects page by page. */
async function pull(shared: Shared, held: Map<Id, number>, mark: number): Promise<number> {
  let count = 0;
  for (const { origin } of await shared.read('bench', (db) => listMoved(db, mark, 1000))) {
    for (let after = held.get(origin) ?? 0; ; ) {
      const page = await shared.read('bench', (db) => listSharedObjects(db, origin, { after, limit: PAGE }));
      after = page.at(-1)?.seq ?? after;
      held.set(origin, after);
      count += page.length;
      if (page.length < PAGE) break;
    }
  }
  return count;
}

async function rowByRow(shared: Shared, all: readonly Told[]): Promise<void> {
  for (const { ids } of all) {
    for (const id of ids) {
      const row = await shared.read('bench', (db) => db('shared_objects').where({ id }).first());
      if (JSON.parse(row.body) === null) throw new Error('an object is gone');
    }
  }
}

async function tellMore(shared: Shared, all: readonly Told[], count: number): Promise<void> {
  for (const [n, told] of all.entries()) {
    const many = Math.floor(count / all.length) + (n < count % all.length ? 1 : 0);
    for (let left = many; left > 0; left -= PAGE)
      await tell(
        shared,
        told,
        Array.from({ length: Math.min(PAGE, left) }, () => newId()),
      );
  }
}

async function change(shared: Shared, all: readonly Told[], count: number): Promise<void> {
  for (const [n, told] of all.entries()) {
    const many = Math.floor(count / all.length) + (n < count % all.length ? 1 : 0);
    await tell(shared, told, told.ids.slice(0, many));
  }
}

async function tell(shared: Shared, told: Told, ids: readonly Id[]): Promise<void> {
  const from = told.seq;
  const objects: Numbered[] = ids.map((id) => ({ envelope: document(told.origin, id, ++told.seq), seq: told.seq }));
  const store = async (trx: Parameters<Parameters<Shared['write']>[1]>[0]) => {
    await lockStream(trx, told.origin, 'objects');
    await putSharedObjects(trx, told.origin, objects);
    await moveStream(trx, { origin: told.origin, stream: 'objects', seq: told.seq }, from);
  };
  await shared.write('bench', store, 'repeat');
  const known = new Set(told.ids);
  told.ids.push(...ids.filter((id) => !known.has(id)));
}

/** As long as an image's envelope is: a name, a version, digests, sizes. */
function document(origin: Id, id: Id, seq: number): Envelope {
  const body = { type: 'parameter', name: `p-${id}`, content: { value: `value ${seq} `.repeat(40) } };
  const keyId = `sha256:${'ab'.repeat(32)}` as const;
  return { kind: 'document', id, origin, revision: seq, body, digest: digestOf(body), keyId: keyId as never, signature: 'S'.repeat(88) };
}

async function newestMark(shared: Shared): Promise<number> {
  return (await shared.read('bench', (db) => listMoved(db, 0, 1000))).at(-1)?.mark ?? 0;
}

async function medianLook(shared: Shared): Promise<number> {
  const mark = await newestMark(shared);
  const times: number[] = [];
  for (let n = 0; n < LOOKS; n += 1) times.push((await timed(() => shared.read('bench', (db) => listMoved(db, mark, 500)))).seconds * 1000);
  return times.sort((a, b) => a - b)[LOOKS >> 1] ?? 0;
}

async function timed<Result>(work: () => Promise<Result>): Promise<{ result: Result; seconds: number }> {
  const started = performance.now();
  const result = await work();
  return { result, seconds: (performance.now() - started) / 1000 };
}
