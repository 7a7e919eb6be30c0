import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { EXAMPLE, type Examples } from './examples.ts';
import { idOf, machineOf, timeOf } from './machines.ts';
import { type Pattern, patternOf, type Row } from './pattern.ts';
import type { Size } from './sizes.ts';

/** Which rows the example left in which table: those of the machine, and those of each of its orders. */
const OF_TARGET = { targets: 'id', target_macs: 'target_id', agent_keys: 'target_id', outbox: 'subject', events: 'subject' } as const;
const OF_ORDER = { orders: 'id', outbox: 'subject', events: 'subject', active_orders: 'order_id' } as const;

/** Active orders: of every twentieth machine. */
export const EACH_ACTIVE = 20;

/**
 * Gives a site that is closed its machines and orders: each as the example that its server lived through, under other ids and at other
 * times, in one transaction. The orders of a machine lie apart; the newest of every twentieth has not ended.
 */
export function fillOwnRows(file: string, examples: Examples, { targets, orders }: Pick<Size, 'targets' | 'orders'>): void {
  const db = new DatabaseSync(file);
  db.exec('pragma synchronous = off; pragma cache_size = -200000; begin');
  const rows = openRows(db);
  const counters = { event: rows.newest('events'), outbox: rows.newest('outbox') };
  const { machine, ended, active } = readPatterns(rows, examples);
  const write = (patterns: readonly TablePattern[], values: Record<string, string>, later: number) => {
    for (const { table, pattern } of patterns) {
      if (table === 'events') counters.event += 1;
      if (table === 'outbox') counters.outbox += 1;
      const seq = String(table === 'events' ? counters.event : counters.outbox);
      rows.insert(table, pattern, { ...values, seq }, timeOf(later) - examples.at);
    }
  };
  for (let n = 0; n < targets; n += 1) write(machine, machineOf(0, n), n);
  for (let n = 0; n < orders; n += 1) {
    const isActive = n >= orders - targets && n % EACH_ACTIVE === 0;
    const later = targets + n;
    const ids = { orderId: idOf('order', n, later), jobId: idOf('job', n, later), taskId: idOf('task', n, later) };
    write(isActive ? active : ended, { ...machineOf(0, n % targets), ...ids }, later);
  }
  db.prepare("update counters set value = ? where name = 'outbox'").run(counters.outbox);
  db.exec('commit');
  db.close();
}

type TablePattern = { readonly table: string; readonly pattern: Pattern };
type Rows = ReturnType<typeof openRows>;

export function openRows(db: DatabaseSync) {
  const statements = new Map<string, ReturnType<DatabaseSync['prepare']>>();
  return {
    newest: (table: string) => Number(db.prepare(`select max(seq) as n from ${table}`).get()?.['n'] ?? 0),
    read: (table: string, column: string, value: string): Row[] => db.prepare(`select * from ${table} where ${column} = ?`).all(value),
    insert: (table: string, { columns, make }: Pattern, values: Readonly<Record<string, string>>, laterMs: number) => {
      const known = statements.get(table);
      const statement = known ?? db.prepare(`insert into ${table} (${columns.join(', ')}) values (${columns.map(() => '?').join(', ')})`);
      if (known === undefined) statements.set(table, statement);
      statement.run(...(make(values, laterMs) as SQLInputValue[]));
    },
  };
}

function readPatterns(rows: Rows, { targetId, ended, active }: Examples) {
  const find = (tables: Readonly<Record<string, string>>, id: string, places: Readonly<Record<string, string>>): TablePattern[] =>
    Object.entries(tables).flatMap(([table, column]) =>
      patternsOf(rows.read(table, column, id), table, { ...EXAMPLE, targetId, ...places }),
    );
  const ofOrder = (orderId: string) => {
    const jobId = String(rows.read('orders', 'id', orderId)[0]?.['job_id']);
    const taskId = String(rows.read('tasks', 'job_id', jobId)[0]?.['id']);
    const places = { orderId, jobId, taskId };
    return [...find(OF_ORDER, orderId, places), ...find({ jobs: 'id', tasks: 'job_id' }, jobId, places)];
  };
  return { machine: find(OF_TARGET, targetId, {}), ended: ofOrder(ended), active: ofOrder(active) };
}

function patternsOf(found: readonly Row[], table: string, places: Readonly<Record<string, string>>): TablePattern[] {
  return found.map((row) => ({ table, pattern: patternOf(row, places, ['seq']) }));
}
