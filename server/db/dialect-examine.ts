import type { Knex } from 'knex';

/** What a data source is like, as `datasource test` and `doctor` tell it. */
export type Examined = {
  readonly version: string;
  /** The cipher of the connection; null: it is not encrypted. */
  readonly tls: string | null;
  /** Of one statement there and back, the quickest of five. */
  readonly latencyMs: number;
  /** Rights that are needed and were not granted; null: what was granted could not be understood. */
  readonly lacking: readonly string[] | null;
  /** Whether the account may change tables: for the first server, and for upgrades. */
  readonly maySetUp: boolean | null;
  readonly connections: { readonly used: number; readonly most: number };
  /** Members of the Galera cluster; null: it is none. */
  readonly members: number | null;
};

const NEEDED = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'];
const SET_UP = ['CREATE', 'ALTER', 'INDEX'];

export async function examineDatabase(db: Knex, name: string): Promise<Examined> {
  const ask = async <Row>(sql: string): Promise<Row[]> => ((await db.raw(sql)) as [Row[]])[0];
  const value = async (sql: string): Promise<string | undefined> => (await ask<{ Value: string }>(sql))[0]?.Value;
  const latencies: number[] = [];
  for (let n = 0; n < 5; n++) {
    const started = performance.now();
    await db.raw('select 1');
    latencies.push(performance.now() - started);
  }
  const [version] = await ask<{ version: string }>('select version() as version');
  const rights = readGrants(
    (await ask<Record<string, string>>('show grants')).map((row) => Object.values(row)[0] ?? ''),
    name,
  );
  const size = Number((await value("show status like 'wsrep_cluster_size'")) ?? 0);
  return {
    version: version?.version ?? '',
    tls: (await value("show status like 'Ssl_cipher'")) || null,
    latencyMs: Math.round(Math.min(...latencies) * 10) / 10,
    lacking: rights && NEEDED.filter((right) => !rights.has(right)),
    maySetUp: rights && SET_UP.every((right) => rights.has(right)),
    connections: {
      used: Number((await value("show status like 'Threads_connected'")) ?? 0),
      most: Number((await value("show variables like 'max_connections'")) ?? 0),
    },
    members: size > 0 ? size : null,
  };
}

/** The rights on a database (or on all) in lines of SHOW GRANTS; null when a role or a form that is not known may add others. */
export function readGrants(lines: readonly string[], name: string): ReadonlySet<string> | null {
  const rights = new Set<string>();
  for (const line of lines) {
    const [, list, database] = /^GRANT (.+?) ON (\*|`(?:[^`]|``)+`)\.\* TO /.exec(line) ?? [];
    if (list === undefined || database === undefined) {
      if (/^GRANT .+ ON /.test(line)) continue; // of single tables: they are not what docs/operations.md grants
      return null;
    }
    if (
      database !== '*' &&
      database
        .slice(1, -1)
        .replaceAll('``', '`')
        .replaceAll(/\\([_%])/g, '$1') !== name
    )
      continue;
    for (const right of list.split(/,\s*/)) {
      if (right === 'ALL PRIVILEGES') for (const each of [...NEEDED, ...SET_UP]) rights.add(each);
      else rights.add(right);
    }
  }
  return rights;
}
