import type { Knex } from 'knex';
import { answered, MysqlClient, type MysqlConnection, mysqlSettings, type RawConnection } from './dialect-mysql.ts';

/** A statement that is not answered for so long is given up with its connection: a dead network says nothing. */
const STATEMENT_MS = 15_000;
const CONNECT_MS = 5_000;
/** Also of 500 servers the database has connections for. */
const CONNECTIONS = 4;
/** What is still looked after by its makers; older ones were not tried. */
const OLDEST = { MariaDB: [10, 5], MySQL: [8, 0] } as const;

/** After these words a connection is of no use: the next one goes where work is taken. Without a database: it was dropped, and perhaps made anew. */
const LEAVE = new Set([
  'ER_OPTION_PREVENTS_STATEMENT',
  'ER_READ_ONLY_MODE',
  'ER_UNKNOWN_COM_ERROR',
  'ER_ERROR_DURING_COMMIT',
  'ER_SERVER_SHUTDOWN',
  'ER_NO_DB_ERROR',
]);

type Placed = RawConnection & { isForsaken?: () => boolean; noteSilence?: () => void };
type Query = { readonly sql: string };
/** knex's own, which its types do not know. */
const plainQuery = (MysqlClient.prototype as unknown as { _query(connection: RawConnection, query: Query | string): Promise<unknown> })
  ._query;
type Variables = { readonly Variable_name: string; readonly Value: string }[];

/**
 * The client for the database where servers meet: several hosts, of which one is taken that accepts writes (not
 * read-only; in a Galera cluster: ready, and reads wait for what was committed elsewhere), and no statement that waits
 * for ever.
 */
export class SharedClient extends MysqlClient {
  /** Of the newest connection. */
  localAddress: string | undefined;
  /** When a host last said nothing for too long. */
  readonly #silences = new Map<string, number>();

  protected override async prepare(connection: RawConnection, address: string): Promise<void> {
    this.#place(connection, address);
    const ask = async <Row>(sql: string): Promise<Row[]> => (await connection.promise().query(sql))[0] as Row[];
    const [first] = await ask<{ version: string }>('select version() as version');
    refuseOld(first?.version ?? '', address);
    this.localAddress = (connection as { stream?: { localAddress?: string } }).stream?.localAddress;
    const found = await ask<Variables[number]>("show global variables where variable_name in ('read_only', 'wsrep_on')");
    const isOn = (rows: Variables, name: string) => rows.some((row) => row.Variable_name === name && row.Value === 'ON');
    if (isOn(found, 'read_only')) throw unfit(address, 'is read-only');
    if (!isOn(found, 'wsrep_on')) return;
    if (!isOn(await ask("show status like 'wsrep_ready'"), 'wsrep_ready')) throw unfit(address, 'is not part of a working cluster');
    await connection.promise().query('set session wsrep_sync_wait = 1');
  }

  /** The other connections to a host that says nothing would each be waited for as long: they are not used again. */
  override async validateConnection(connection: Placed): Promise<boolean> {
    return connection.isForsaken?.() !== true && (await super.validateConnection(connection));
  }

  /** Where a connection leads is known to itself: within a transaction knex uses a client that has nothing of this one. */
  #place(connection: Placed, address: string): void {
    const since = performance.now();
    connection.isForsaken = () => since <= (this.#silences.get(address) ?? Number.NEGATIVE_INFINITY);
    connection.noteSilence = () => {
      this.#silences.set(address, performance.now());
      this.leaveHost(address);
    };
  }

  async _query(connection: Placed, query: Query | string): Promise<unknown> {
    try {
      return await answered(plainQuery.call(this, connection, query), STATEMENT_MS, () => {
        connection.destroy();
        connection.noteSilence?.();
        return `no answer within ${STATEMENT_MS / 1000} s`;
      });
    } catch (error) {
      if (LEAVE.has((error as { code?: string }).code ?? '')) connection.destroy();
      throw error;
    }
  }
}

function unfit(address: string, why: string): Error {
  return Object.assign(new Error(`${address} ${why}`), { code: 'NOT_WRITABLE' });
}

function refuseOld(version: string, address: string): void {
  const kind = /mariadb/i.test(version) ? 'MariaDB' : 'MySQL';
  const [, major, minor] = /^(?:5\.5\.5-)?(\d+)\.(\d+)/.exec(version) ?? [];
  const [oldestMajor, oldestMinor] = OLDEST[kind];
  if (Number(major) > oldestMajor || (Number(major) === oldestMajor && Number(minor) >= oldestMinor)) return;
  const words = `${address} is ${kind} ${version}; ${kind} ${OLDEST[kind].join('.')} or later is needed`;
  throw Object.assign(new Error(words), { code: 'ER_TOO_OLD' });
}

/** knex's settings for the shared database; nothing is connected before the first statement. */
export function sharedSettings(connection: MysqlConnection): Knex.Config {
  const settings = mysqlSettings(connection);
  return {
    ...settings,
    client: SharedClient,
    connection: { ...(settings.connection as object), connectTimeout: CONNECT_MS },
    pool: { min: 0, max: CONNECTIONS },
    acquireConnectionTimeout: CONNECT_MS * (connection.hosts.length + 1),
  };
}
