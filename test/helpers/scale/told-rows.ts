import { DatabaseSync } from 'node:sqlite';
import type { Registration } from '../../../server/db/shared/servers.ts';
import { EXAMPLE, type Examples } from './examples.ts';
import { idOf, machineOf } from './machines.ts';
import { openRows } from './own-rows.ts';
import { patternOf } from './pattern.ts';
import type { Size } from './sizes.ts';

/** One thing that a server told, as `reported` and `shared_reports` hold it, and the words by which it is found. */
export type ToldRow = {
  readonly origin: string;
  readonly kind: string;
  readonly subject: string;
  readonly seq: number;
  readonly body: string;
};

/** How many things each server told, and so the number of the last one. */
export function countTold({ below }: Pick<Size, 'below'>): number {
  return below.targets + below.orders + 1;
}

/**
 * Gives a site that is closed what all servers but the example told it, each as the example did (`tellAsExample`): its machines, their orders,
 * how it is. `each` gets every row.
 */
export function fillTold(
  file: string,
  { examples, servers, size, each }: { examples: Examples; servers: readonly Registration[]; size: Size; each?: (row: ToldRow) => void },
): void {
  const [example, ...others] = servers as [Registration, ...Registration[]];
  const db = new DatabaseSync(file);
  db.exec('pragma synchronous = off; pragma cache_size = -200000; begin');
  const rows = openRows(db);
  const places = { ...EXAMPLE, targetId: examples.targetId, orderId: examples.ended, serverId: example.id, serverName: example.name };
  const told = db.prepare('select * from reported where origin = ?').all(example.id);
  const things = new Map(told.map((row) => [row['kind'] as string, patternOf(row, places, ['seq'])]));
  const found = rows.read('reported_words', 'origin', example.id);
  const words = found.filter(({ subject }) => subject !== example.id).map((row) => patternOf(row, places));
  const names = found.filter(({ subject }) => subject === example.id).map((row) => patternOf(row, places));
  const [mark] = rows.read('report_marks', 'origin', example.id).map((row) => patternOf(row, places, ['seq']));
  const put = (kind: string, values: Record<string, string>) => {
    const pattern = things.get(kind);
    if (pattern === undefined) throw new Error(`the example told of no ${kind}`);
    rows.insert('reported', pattern, values, 0);
    const made = pattern.make(values);
    const row = Object.fromEntries(pattern.columns.map((name, n) => [name, made[n]]));
    each?.({ ...(row as ToldRow), seq: Number(row['seq']) });
  };
  for (const [n, { id, name }] of others.entries()) {
    const server = { serverId: id, serverName: name };
    const number = n + 1;
    let seq = 0;
    const next = () => ({ ...server, seq: String(++seq) });
    for (let m = 0; m < size.below.targets; m += 1) {
      const machine = machineOf(number, m);
      put('target', { ...machine, ...next() });
      for (const word of words) rows.insert('reported_words', word, { ...machine, ...server }, 0);
    }
    for (let m = 0; m < size.below.orders; m += 1) {
      const later = Math.floor((m / size.below.orders) * (size.targets + size.orders)) + number;
      put('order', { ...machineOf(number, m % size.below.targets), orderId: idOf('told', number * 100_000 + m, later), ...next() });
    }
    put('server', next());
    for (const name of names) rows.insert('reported_words', name, server, 0);
    if (mark !== undefined) rows.insert('report_marks', mark, { ...server, seq: String(seq) }, 0);
  }
  db.exec('commit');
  db.close();
}
