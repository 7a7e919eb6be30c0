import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import type { Connection } from '../datasource.ts';

const Mysql2Client = createRequire(import.meta.url)('knex/lib/dialects/mysql2/index.js') as typeof Knex.Client;

type RawConnection = { promise(): { query(sql: string): Promise<unknown> } };

/**
 * knex's mysql2 client with several hosts: every new connection tries them in order, beginning with the one
 * that worked last. Bad sign-in is not tried elsewhere. Values that do not fit are errors, whatever the server's mode;
 * reads see what is committed (no gap locks: concurrent inserts do not deadlock).
 */
class MysqlClient extends Mysql2Client {
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
        if ((error as { code?: string }).code?.startsWith('ER_')) break;
      }
    }
    throw failure;
  }

  async #connect(address: string): Promise<RawConnection> {
    Object.assign(this.connectionSettings, splitHost(address));
    const connection: RawConnection = await super.acquireRawConnection();
    await connection.promise().query("set session sql_mode = 'TRADITIONAL'");
    await connection.promise().query('set session transaction isolation level read committed');
    return connection;
  }
}

/** knex's settings for a MySQL-compatible database. Bigints come as numbers (ours stay below 2^53), documents are text. */
export function mysqlSettings(connection: Connection & { kind: 'mysql' }): Knex.Config {
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
