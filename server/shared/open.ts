import { setTimeout as sleep } from 'node:timers/promises';
import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import type { Connection } from '../datasource.ts';
import { localAddressOf, openSharedDatabase } from '../db/open.ts';
import { migrateShared, missingInShared } from '../db/shared/migrate.ts';
import { readSharedState } from '../db/shared/servers.ts';
import { classify, type Failure, isInDoubt } from './failure.ts';
import { createContact, type SharedState } from './state.ts';

/**
 * The database where servers meet (docs/decisions/0024), seen from one of them. Nothing here may be needed to boot a
 * machine or to finish an order: every call may fail with `unreachable` at any time, soon, and whoever calls goes on
 * without it. The tables are in server/db/shared/.
 */
export type Shared = {
  /** `database "NAME" at HOST, HOST`, for people. */
  readonly where: string;
  state(): SharedState;
  /** For how long it is connected by now, whatever the clock says, ms; 0 while it is not. */
  connectedMs(): number;
  /** Calls at every change of `state().state`; the last one that was set. */
  onChange(listener: (state: SharedState) => void): void;
  /** What the registry says against us though the database is reached; undefined takes it back. */
  complain(problem: AppError | undefined): void;
  /** The address by which this machine reached the database: others reach it there when nothing else was advertised. */
  localAddress(): string | undefined;
  /** Brings the schema there to this release; the names of the changes made. With nothing to do it needs no right for it. */
  prepare(): Promise<readonly string[]>;
  /** Reads, again when the database asks for that. `what` says in words what for. */
  read<Result>(what: string, work: (db: Knex) => Promise<Result>): Promise<Result>;
  /**
   * Does `work` in one transaction, again when the database undid it or the connection broke before COMMIT; so `work` has
   * no effects but its statements. When the answer to COMMIT is lost nobody knows whether it was carried out:
   * `repeat` says that doing it twice is doing it once; a function reads whether it is there, and gives the result when it is.
   * Then `work` must break a unique key where it would be done twice, because the first COMMIT may still be under way.
   * `fencesItself`: it may give the place of this very server to another.
   */
  write<Result>(
    what: string,
    work: (trx: Knex.Transaction) => Promise<Result>,
    onDoubt: OnDoubt<Result>,
    options?: { readonly fencesItself?: boolean },
  ): Promise<Result>;
  close(): Promise<void>;
};

export type OnDoubt<Result> = 'repeat' | ((db: Knex) => Promise<Result | undefined>);

/** How often the same work is tried: what others' writes undo, and what a broken connection ended. */
const MOST_AGAIN = 20;
const MOST_LOST = 3;
/** Who waited so long for a network that says nothing is not kept for another try, but for one at other hosts. */
const PATIENCE_MS = 5_000;

/**
 * Opens without connecting. The caller closes. What is written is written as server `self`, when one is given: then nothing is, with
 * `fenced`, from when another took its place, whatever it was about to do.
 */
export function openShared(connection: Connection & { kind: 'mysql' }, now: () => number, self?: Id): Shared {
  const db = openSharedDatabase(connection);
  const where = `database "${connection.name}" at ${connection.hosts.join(', ')}`;
  const contact = createContact(now);
  let isSchemaKnown = false;
  const ready = async (): Promise<void> => {
    if (isSchemaKnown) return;
    const [first] = await missingInShared(db);
    if (first !== undefined) throw Object.assign(new Error(first), { code: 'NO_SCHEMA' });
    isSchemaKnown = true;
  };
  const attempt = async <Result>(what: string, once: () => Promise<Result>, { prepared = ready, isLook = false } = {}): Promise<Result> => {
    const from = performance.now();
    const mostLost = () => (isLook ? 1 : performance.now() - from > PATIENCE_MS ? Math.min(2, connection.hosts.length) : MOST_LOST);
    for (let again = 0, lost = 0; ; ) {
      try {
        await prepared();
        const result = await once();
        contact.reached();
        return result;
      } catch (thrown) {
        const failure = classify(thrown, where);
        // What the caller's own work refuses is no word about the database.
        if (failure.kind === 'other') {
          if (isLook) contact.undecided();
          throw thrown instanceof AppError ? thrown : failure.error;
        }
        const isLast = failure.kind === 'again' ? ++again >= MOST_AGAIN : failure.kind === 'refused' || ++lost >= mostLost();
        if (isLast) {
          if (failure.kind !== 'again') contact.failed(failure);
          else if (isLook) contact.undecided();
          throw withPurpose(failure, what);
        }
        await sleep(pauseMs(failure, again + lost));
      }
    }
  };
  return {
    where,
    state: contact.state,
    connectedMs: contact.connectedMs,
    onChange: contact.onChange,
    complain: contact.complain,
    localAddress: () => localAddressOf(db),
    // Who makes the tables is not kept from it by those who find none.
    prepare: () => attempt('the schema of the shared database', () => migrateShared(db), { prepared: noSchema }),
    read: async (what, work) => attempt(what, () => work(db), { isLook: contact.enter() }),
    write: async (what, work, onDoubt, { fencesItself = false } = {}) => {
      const guarded = async (trx: Knex.Transaction) => {
        const refuse = async () => self !== undefined && refuseFencedServer(trx, self);
        if (fencesItself) await refuse();
        const result = await work(trx).catch(async (error: unknown) => {
          // Whatever else speaks against it, that is why.
          if (error instanceof AppError) await refuse();
          throw error;
        });
        // Last, and as it is by then (read committed): what was under way while another took our place is undone.
        if (!fencesItself) await refuse();
        return result;
      };
      const isLook = contact.enter();
      // Whoever is in doubt has entered already.
      const decide = onDoubt === 'repeat' ? undefined : () => attempt(what, () => onDoubt(db));
      return attempt(what, () => transact(db, guarded, { where, onDoubt: decide }), { isLook });
    },
    close: () => db.destroy(),
  };
}

async function noSchema(): Promise<void> {}

async function refuseFencedServer(trx: Knex.Transaction, self: Id): Promise<void> {
  if ((await readSharedState(trx, self)) !== 'fenced') return;
  throw new AppError('fenced', 'this server is fenced in the shared database: another server took its place', {
    hint: 'it boots its machines and works on alone; see waystation server list at another server',
  });
}

type Doubt<Result> = { readonly where: string; readonly onDoubt: (() => Promise<Result | undefined>) | undefined };

async function transact<Result>(
  db: Knex,
  work: (trx: Knex.Transaction) => Promise<Result>,
  { where, onDoubt }: Doubt<Result>,
): Promise<Result> {
  let first: { readonly error: unknown } | undefined;
  let isDone = false;
  try {
    return await db.transaction(async (trx) => {
      try {
        const result = await work(trx);
        isDone = true;
        return result;
      } catch (error) {
        first = { error };
        throw error;
      }
    });
  } catch (error) {
    // When the connection broke, the failed ROLLBACK would speak in the place of what failed.
    if (!isDone || onDoubt === undefined || !isInDoubt(classify(error, where))) throw first === undefined ? error : first.error;
    const found = await onDoubt().catch((cause: unknown) => {
      const words = `${where} took the last words of this and then nothing was heard of it: whether it was kept is not known`;
      throw new AppError('unreachable', words, { hint: 'look when it is back, or ask for the same again', cause });
    });
    if (found !== undefined) return found;
    throw error;
  }
}

/** Those that met on the same rows part; who lost a connection gives the database a moment. */
function pauseMs({ kind }: Failure, attempts: number): number {
  const most = kind === 'again' ? Math.min(500, 10 * 2 ** attempts) : 100 * attempts;
  return most * (0.5 + Math.random() / 2);
}

function withPurpose({ error }: Failure, what: string): AppError {
  return new AppError(error.code, `${what}: ${error.message}`, { ...(error.hint ? { hint: error.hint } : {}), cause: error.cause });
}
