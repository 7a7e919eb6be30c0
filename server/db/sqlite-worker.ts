import { closeSync, existsSync, openSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import type { Answer, Failure, Request, Response } from './dialect-sqlite.ts';

/**
 * The thread that holds the database file. It answers every request with its id; the first request has no
 * SQL and reports how opening went. `close` checkpoints and ends the thread.
 */
const port = parentPort;
if (port === null) throw new Error('sqlite-worker.ts runs as a worker only');

const opened = open((workerData as { filename: string }).filename);

port.on('message', (message: Request | 'close') => {
  if (message === 'close') {
    if (opened instanceof DatabaseSync) opened.close();
    port.close();
    return;
  }
  port.postMessage(respond(message));
});

function open(filename: string): DatabaseSync | Failure {
  try {
    // SQLite itself would make it readable to all, and its -wal and -shm take the mode from it.
    if (!existsSync(filename)) closeSync(openSync(filename, 'a', 0o600));
    const db = new DatabaseSync(filename, { timeout: 5000, enableForeignKeyConstraints: true });
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;');
    return db;
  } catch (error) {
    return describe(error);
  }
}

function respond({ id, sql, bindings }: Request): Response {
  if (!(opened instanceof DatabaseSync)) return { id, failure: opened };
  if (sql === '') return { id, answer: { rows: [], reader: false, changes: 0, lastId: 0 } };
  try {
    return { id, answer: run(opened, sql, bindings as readonly SQLInputValue[]) };
  } catch (error) {
    return { id, failure: describe(error) };
  }
}

function run(db: DatabaseSync, sql: string, bindings: readonly SQLInputValue[]): Answer {
  const statement = db.prepare(sql);
  if (statement.columns().length > 0) return { rows: statement.all(...bindings), reader: true, changes: 0, lastId: 0 };
  const { changes, lastInsertRowid } = statement.run(...bindings);
  return { rows: [], reader: false, changes: Number(changes), lastId: Number(lastInsertRowid) };
}

function describe(error: unknown): Failure {
  const { message, code, errcode } = error as Error & { code?: string; errcode?: number };
  return { message, ...(code === undefined ? {} : { code }), ...(errcode === undefined ? {} : { errcode }) };
}
