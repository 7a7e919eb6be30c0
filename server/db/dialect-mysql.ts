import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import type { Connection } from '../datasource.ts';

const Mysql2Client = createRequire(import.meta.url)('knex/lib/dialects/mysql2/index.js') as typeof Knex.Client;

/** A connection of mysql2. */
export type RawConnection = {
  promise(): { query(sql: string): Promise<[unknown, unknown]> };
  destroy(): void;
};

/** A host that says these has no room or takes no work now, and another one may. */
const TRY_ELSEWHERE = new Set([
  ...['ER_CON_COUNT_ERROR', 'ER_TOO_MANY_USER_CONNECTIONS', 'ER_UNKNOWN_COM_ERROR', 'ER_SERVER_SHUTDOWN'],
  ...['ER_OPTION_PREVENTS_STATEMENT', 'ER_READ_ONLY_MODE'],
]);

/** What is answered within `ms`; else an error with `ETIMEDOUT` and the words that `onSilence` gives. */
export async function answered<Result>(answer: Promise<Result>, ms: number, onSilence: () => string): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error(onSilence()), { code: 'ETIMEDOUT' })), ms);
  });
  try {
    return await Promise.race([answer, silence]);
  } finally {
    clearTimeout(timer);
  }
}

/** For the first statements of a connection, all together. */
const SETTLE_MS = 5_000;

/**
 * knex's mysql2 client with several hosts: every new connection tries them in order, beginning with the one
 * that worked last. Bad sign-in is not tried elsewhere. Values that do not fit are errors, whatever the server's mode;
 * reads see what is committed (no gap locks: concurrent inserts do not deadlock).
 */
export class MysqlClient extends Mysql2Client {
  #preferred = 0;

  override async acquireRawConnection(): Promise<RawConnection> {
    const { hosts } = this.config as unknown as { hosts: readonly string[] };
    let failure: unknown;
    for (let n = 0; n < hosts.length; n++) {
      const index = (this.#preferred + n) % hosts.length;
      try {
        const connection = await this.#connect(hosts[index] as string);
        this.#preferred = index;
        return connection;
      } catch (error) {
        failure = error;
        const { code } = error as { code?: string };
        if (code?.startsWith('ER_') && !TRY_ELSEWHERE.has(code)) break;
      }
    }
    throw failure;
  }

  async #connect(address: string): Promise<RawConnection> {
    Object.assign(this.connectionSettings, splitHost(address));
    const connection: RawConnection = await super.acquireRawConnection();
    try {
      // Only the greeting has a time limit of mysql2: a host that falls silent behind it would keep the others from being tried.
      await answered(this.#settle(connection, address), SETTLE_MS, () => `${address} says nothing`);
      return connection;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }

  async #settle(connection: RawConnection, address: string): Promise<void> {
    await connection.promise().query("set session sql_mode = 'TRADITIONAL'");
    await connection.promise().query('set session transaction isolation level read committed');
    await this.prepare(connection, address);
  }

  /**
   * A connection that is broken is let go at once: mysql2 never answers its good-bye, and the pool would keep its place for
   * five seconds, in which a database that is back is not reached.
   */
  override async destroyRawConnection(connection: RawConnection): Promise<void> {
    if (await this.validateConnection(connection)) await super.destroyRawConnection(connection);
    else connection.destroy();
  }

  /** The next connection is tried at another host first. */
  protected leaveHost(address: string): void {
    const { hosts } = this.config as unknown as { hosts: readonly string[] };
    if (hosts[this.#preferred] === address) this.#preferred = (this.#preferred + 1) % hosts.length;
  }

  /** What else a new connection must be asked or told; a host that is not fit throws. */
  protected async prepare(_connection: RawConnection, _address: string): Promise<void> {}
}

export type MysqlConnection = Connection & { kind: 'mysql' };

/** knex's settings for a MySQL-compatible database. Bigints come as numbers (ours stay below 2^53), documents are text. */
export function mysqlSettings(connection: MysqlConnection): Knex.Config {
  const settings = {
    client: MysqlClient,
    hosts: connection.hosts,
    connection: {
      user: connection.user,
      database: connection.name,
      connectTimeout: 10_000,
      timezone: 'Z',
      ...(connection.password === undefined ? {} : { password: connection.password }),
      ...(connection.ca === undefined ? {} : { ssl: { ca: readCa(connection.ca) } }),
    },
    pool: { min: 0, max: 8 },
    acquireConnectionTimeout: 15_000,
  };
  return settings;
}

function readCa(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new AppError('config', `cannot read the database's CA ${path}`, { hint: 'check the path and its rights', cause: error });
  }
}

/** `host`, `host:port`, `[v6]:port`; the port is 3306 unless given. */
export function splitHost(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return { host: text, port: 3306 };
  return { host: match[1] ?? match[2] ?? text, port: match[3] === undefined ? 3306 : Number(match[3]) };
}
