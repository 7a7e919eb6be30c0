import { readFileSync } from 'node:fs';
import type { Knex } from 'knex';
import type { Connection } from '../datasource.ts';

type Mysql = Connection & { kind: 'mysql' };

/**
 * mysql2's settings. Knex asks anew for every connection it opens, so the hosts are taken in turn: a host
 * that refuses is followed by the next one. Bigints come as numbers (ours stay below 2^53), documents are text.
 */
export function mysqlConnection(connection: Mysql): Knex.ConnectionConfigProvider {
  const ssl = connection.ca === undefined ? {} : { ssl: { ca: readFileSync(connection.ca) } };
  let turn = 0;
  return () => {
    const { host, port } = splitHost(connection.hosts[turn++ % connection.hosts.length] as string);
    return {
      host,
      port,
      user: connection.user,
      database: connection.name,
      connectTimeout: 10_000,
      timezone: 'Z',
      ...(connection.password === undefined ? {} : { password: connection.password }),
      ...ssl,
      expirationChecker: () => true,
    };
  };
}

/** `host`, `host:port`, `[v6]:port`. */
export function splitHost(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return { host: text, port: 3306 };
  return { host: match[1] ?? match[2] ?? text, port: match[3] === undefined ? 3306 : Number(match[3]) };
}
