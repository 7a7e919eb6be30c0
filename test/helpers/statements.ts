import type { Knex } from 'knex';

export type Statement = { readonly sql: string; readonly bindings: readonly unknown[]; readonly rows: number };

/** Counts what is asked of a database, its transactions included, while `work` runs. */
export async function statementsOf(db: Knex, work: () => Promise<unknown>): Promise<Statement[]> {
  const seen: Statement[] = [];
  const note = (response: unknown, { sql, bindings }: { sql: string; bindings?: readonly unknown[] }) =>
    void seen.push({ sql, bindings: bindings ?? [], rows: sql.startsWith('select') ? rowsIn(response) : 0 });
  db.on('query-response', note);
  try {
    await work();
  } finally {
    db.removeListener('query-response', note);
  }
  return seen;
}

function rowsIn(response: unknown): number {
  if (Array.isArray(response)) return response.length;
  return response === undefined ? 0 : 1;
}

/** Tables that grow with machines, orders and what is told of them. */
const LARGE = [
  'targets',
  'target_macs',
  'agent_keys',
  'boots',
  'jobs',
  'tasks',
  'orders',
  'events',
  'outbox',
  'reported',
  'reported_words',
];

/** A page in the order of a key ends at its limit: only what is shown is read. */
const PAGE = /^select (?!.* where ).* order by `id` (asc|desc) limit \?$/;

/** Which of these statements read a large table from one end to the other, with how SQLite would do it. */
export async function scansOf(db: Knex, statements: readonly Statement[]): Promise<string[]> {
  const found = new Set<string>();
  const asked = new Map(statements.filter(({ sql }) => /^(select|update|delete) /.test(sql)).map((one) => [one.sql, one]));
  for (const { sql, bindings } of asked.values()) {
    const plan: { detail: string }[] = await db.raw(`explain query plan ${sql}`, bindings as Knex.RawBinding[]);
    for (const { detail } of plan) {
      const [, table = ''] = /^SCAN (\w+)/.exec(detail) ?? [];
      if (LARGE.includes(table) && !PAGE.test(sql)) found.add(`${sql} -- ${detail}`);
    }
  }
  return [...found];
}
