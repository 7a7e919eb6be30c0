import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { type Turn, TurnWatch } from './turn-watch.ts';

/**
 * knex on node:sqlite. The file lives in a worker thread of its own, because a commit waits for the disk
 * (synchronous=FULL) and the loop that answers firmware must not. knex's own sqlite3 client writes the SQL; only
 * connecting, running and reading results are ours. The base class has no types of its own, hence the cast.
 */
const SqliteClient = createRequire(import.meta.url)('knex/lib/dialects/sqlite3/index.js') as typeof Knex.Client;

/** What crosses to the worker and back. `reader` says that the statement gave rows. */
export type Answer = { readonly rows: readonly object[]; readonly reader: boolean; readonly changes: number; readonly lastId: number };
export type Failure = { readonly message: string; readonly code?: string; readonly errcode?: number };
export type Request = { readonly id: number; readonly sql: string; readonly bindings: readonly unknown[] };
export type Response = { readonly id: number; readonly answer?: Answer; readonly failure?: Failure };

/** What a client emits, with the `Turn`. */
const LONG_TURN = 'long turn';

/** Calls for each transaction and statement that has kept all others from this database for five seconds. */
export function onLongTurn(db: Knex, tell: (turn: Turn) => void): void {
  db.client.on(LONG_TURN, tell);
}

type Query = { sql: string; bindings?: readonly unknown[]; method?: string; response?: unknown; context?: unknown };

export class NodeSqliteClient extends SqliteClient {
  /** Of the one connection. Clients that knex derives from this one find it here, too. */
  readonly watch = new TurnWatch((turn) => this.emit(LONG_TURN, turn));

  _driver(): object {
    return {};
  }

  /** One works at a time. Who had no turn has changed nothing and may ask again. Errors: `busy`. */
  override async acquireConnection(): Promise<SqliteConnection> {
    try {
      return await super.acquireConnection();
    } catch (error) {
      if ((error as Error).name !== 'KnexTimeoutError') throw error;
      throw new AppError('busy', 'the database had no time for this: what was asked before takes too long', {
        hint: 'ask again; if it stays so, see what the server is doing: waystation logs',
        cause: new Error(`the turn of another: ${JSON.stringify(this.watch.current())}`, { cause: error }),
      });
    }
  }

  override async acquireRawConnection(): Promise<SqliteConnection> {
    const connection = new SqliteConnection((this.connectionSettings as { filename: string }).filename, this.watch);
    await connection.ready;
    return connection;
  }

  override async destroyRawConnection(connection: SqliteConnection): Promise<void> {
    await connection.close();
  }

  override async validateConnection(connection: SqliteConnection): Promise<boolean> {
    return connection.isOpen;
  }

  async _query(connection: SqliteConnection, query: Query): Promise<Query> {
    const answer = await connection.run(query.sql, query.bindings ?? []);
    query.response = answer.reader ? answer.rows : answer;
    query.context = { lastID: answer.lastId, changes: answer.changes };
    return query;
  }
}

/** A worker with one open database. Statements run in the order of the calls. */
export class SqliteConnection {
  readonly ready: Promise<void>;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>();
  #lastId = 0;
  readonly #watch: TurnWatch;
  #broken: Error | undefined;

  constructor(filename: string, watch: TurnWatch) {
    this.#watch = watch;
    this.#worker = new Worker(new URL('./sqlite-worker.ts', import.meta.url), { workerData: { filename } });
    this.#worker.on('message', (response: Response) => this.#settle(response));
    this.#worker.on('error', (error) => this.#break(error));
    this.#worker.on('exit', () => this.#break(new Error('the database is closed')));
    this.ready = this.run('', []).then(() => undefined);
  }

  get isOpen(): boolean {
    return this.#broken === undefined;
  }

  run(sql: string, bindings: readonly unknown[]): Promise<Answer> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      this.#waiting.set(id, { resolve, reject });
      this.#watch.asked(sql);
      this.#worker.ref();
      this.#worker.postMessage({ id, sql, bindings: bindings.map(toSqlite) } satisfies Request);
    });
  }

  async close(): Promise<void> {
    if (this.#broken !== undefined) return;
    const exited = new Promise((resolve) => this.#worker.once('exit', resolve));
    this.#worker.ref();
    this.#worker.postMessage('close');
    await exited;
  }

  #settle(response: Response): void {
    const waiter = this.#waiting.get(response.id);
    this.#waiting.delete(response.id);
    if (this.#waiting.size === 0) {
      this.#watch.answered();
      this.#worker.unref();
    }
    if (response.answer !== undefined) waiter?.resolve(response.answer);
    else waiter?.reject(errorFrom(response.failure));
  }

  #break(error: Error): void {
    this.#broken ??= error;
    this.#watch.end();
    for (const waiter of this.#waiting.values()) waiter.reject(error);
    this.#waiting.clear();
  }
}

/** node:sqlite knows neither undefined nor booleans nor dates. */
function toSqlite(value: unknown): unknown {
  if (value === undefined) return null;
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (value instanceof Date) return value.getTime();
  return value;
}

function errorFrom(failure: Failure | undefined): Error {
  const { message, ...facts } = failure ?? { message: 'the database gave no answer' };
  return Object.assign(new Error(message), facts);
}

/** Our own tables in an SQLite file; not those of knex and of SQLite itself. */
export async function listTables(db: Knex): Promise<string[]> {
  const names: string[] = await db('sqlite_master').where({ type: 'table' }).orderBy('name').pluck('name');
  return names.filter((name) => !/^(knex_|sqlite_)/.test(name));
}

/** The columns of a table's primary key, or all of them: an order without ties. */
export async function listKey(db: Knex, table: string): Promise<string[]> {
  const columns: { name: string; pk: number }[] = await db.raw(`pragma table_info(${table})`);
  const key = columns.filter(({ pk }) => pk > 0).sort((a, b) => a.pk - b.pk);
  return (key.length > 0 ? key : columns).map(({ name }) => name);
}
