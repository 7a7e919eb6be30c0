import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection } from 'mysql2/promise';
import { program } from '../mariadb-programs.ts';
import { stopProcess } from '../stop-process.ts';
import { waitUntil } from '../wait-until.ts';
import { type NodePlace, serverArguments } from './arguments.ts';
import { allowToBeFirst, copyData, installData, type Joining, joiningOf, makeDirectories, recoverPosition } from './node-data.ts';

export type GaleraNode = NodePlace & {
  /** As root, through its socket. Rows are objects. Waits as long as the node does. */
  ask<Row = Record<string, unknown>>(sql: string): Promise<Row[]>;
  /** Says something as root, and stays connected until `end`. */
  hold(sql: string): Promise<{ end(): Promise<void> }>;
  /** Waits until it is a full member. */
  synced(): Promise<void>;
  /** How far its data goes, while it does not run. */
  position(): Promise<number>;
  /** Makes its data, as the first node of a new cluster. */
  create(): Promise<void>;
  /** Takes the data of a neighbour that stopped in order. */
  copy(from: GaleraNode): Promise<void>;
  /** Starts it and waits until it is a full member; says how it came to its data. `first`: it makes a cluster of what it has. */
  start(first?: 'first'): Promise<Joining>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** In order: it says good-bye to its neighbours. */
  stop(): Promise<void>;
  /** SIGSTOP: once it resolves it hears nothing and says nothing; and its end. */
  pause(): Promise<void>;
  resume(): void;
  /** Cuts it off from its neighbours, and back. */
  isolate(isAlone: boolean): Promise<void>;
  /** Removes its data: the next start needs a copy of everything. */
  wipe(): Promise<void>;
  isRunning(): boolean;
};

const START_MS = 90_000;
const END_MS = 60_000;

export function galeraNode(place: NodePlace): GaleraNode {
  const socketPath = join(place.dir, 'sock');
  const log = join(place.dir, 'error.log');
  let child: ChildProcess | undefined;
  let exited: Promise<unknown> = Promise.resolve();
  const connect = async () => {
    const connection = await createConnection({ socketPath, user: 'root', multipleStatements: true });
    // A node that is killed ends its connections.
    connection.on('error', () => undefined);
    return connection;
  };
  const ask = async <Row>(sql: string): Promise<Row[]> => {
    const connection = await connect();
    try {
      return (await connection.query(sql))[0] as Row[];
    } finally {
      connection.destroy();
    }
  };
  const isRunning = () => child !== undefined && child.exitCode === null && child.signalCode === null;
  const begin = (args: readonly string[]) => {
    const env = { ...process.env, PATH: `${place.scripts}:${process.env['PATH']}:/usr/sbin:/sbin` };
    child = spawn(program('mariadbd'), [...serverArguments(place), ...args], { stdio: 'ignore', env });
    exited = once(child, 'exit');
  };
  const waitUntilSynced = async () => {
    const isSynced = async () => {
      const [state] = await ask<{ Value: string }>("show status like 'wsrep_local_state_comment'").catch(() => []);
      return state?.Value === 'Synced';
    };
    await waitUntil('the node synced', isSynced, { limitMs: START_MS, everyMs: 50, during: exited, state: () => readFile(log, 'utf8') });
  };
  const end = async (signal: NodeJS.Signals) => {
    child?.kill('SIGCONT');
    child?.kill(signal);
    // One that is alone may wait for its neighbours to say good-bye to.
    const late = new AbortController();
    sleep(END_MS, undefined, late).then(
      () => child?.kill('SIGKILL'),
      () => undefined,
    );
    await exited.finally(() => late.abort());
  };
  return {
    ...place,
    ask,
    isRunning,
    synced: waitUntilSynced,
    hold: async (sql) => {
      const connection = await connect();
      await connection.query(sql);
      return { end: () => connection.end() };
    },
    position: async () => Number((await recoverPosition(place))?.split(':')[1] ?? -1),
    create: async () => {
      await makeDirectories(place);
      await installData(place);
      begin(['--wsrep-new-cluster']);
      await waitUntilSynced();
    },
    copy: async (from) => {
      await makeDirectories(place);
      copyData(from, place);
    },
    start: async (first) => {
      await makeDirectories(place);
      const position = await recoverPosition(place);
      if (first) await allowToBeFirst(place);
      await rm(log, { force: true });
      begin([...(position === undefined ? [] : [`--wsrep-start-position=${position}`]), ...(first ? ['--wsrep-new-cluster'] : [])]);
      await waitUntilSynced();
      return joiningOf(await readFile(log, 'utf8'));
    },
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    pause: async () => {
      if (child?.pid !== undefined) await stopProcess(child.pid);
    },
    resume: () => void child?.kill('SIGCONT'),
    isolate: async (isAlone) => {
      await ask(`set global wsrep_provider_options = 'gmcast.isolate=${isAlone ? 1 : 0}'`);
    },
    wipe: () => rm(place.dir, { recursive: true, force: true }),
  };
}
