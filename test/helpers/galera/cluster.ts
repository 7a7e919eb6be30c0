import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GaleraNode, galeraNode } from './node.ts';
import { putSstScripts } from './sst-scripts.ts';

export type Galera = {
  /** Three. */
  readonly nodes: readonly GaleraNode[];
  /** `ADDRESS:PORT` of each, in the order of `nodes`. */
  readonly hosts: readonly string[];
  readonly password: string;
  /** One that user `waystation` may do everything in, at each node when it returns. */
  createDatabase(name: string): Promise<void>;
  /** Whether the tables of all nodes hold the same rows. */
  isAlike(database: string): Promise<boolean>;
  /** After all nodes were killed: makes a cluster again of the one that went furthest. */
  bootstrap(): Promise<void>;
  /** Stops all nodes and removes their directories. */
  stop(): Promise<void>;
};

/**
 * Starts a cluster of three real nodes, MariaDB with Galera, as root or as an ordinary user. Each has an address of its own in
 * 127/8: nobody's outgoing connections take its ports while it is down.
 */
export async function startGalera(): Promise<Galera> {
  const dir = await mkdtemp(join(tmpdir(), 'waystation-galera-'));
  await chmod(dir, 0o755);
  const scripts = join(dir, 'scripts');
  await putSstScripts(scripts);
  const some = (from: number, to: number) => from + Math.floor(Math.random() * (to - from));
  const [net, port] = [`127.${some(16, 250)}.${some(1, 250)}`, some(20_000, 30_000)];
  const addresses = [1, 2, 3].map((n) => `${net}.${n}`);
  const nodes = addresses.map((address, n) =>
    galeraNode({ ...{ name: `node${n + 1}`, dir: join(dir, `node${n + 1}`), address, port, addresses, scripts } }),
  );
  const password = 'only-for-tests';
  const stop = async () => {
    await Promise.all(nodes.filter((node) => node.isRunning()).map((node) => node.kill()));
    await rm(dir, { recursive: true, force: true });
  };
  const [first, ...others] = nodes as [GaleraNode, ...GaleraNode[]];
  try {
    await first.create();
    await first.ask(`create user waystation@'%' identified by '${password}'`);
    // Data that each of them has costs no copying while they start.
    await first.stop();
    for (const node of others) await node.copy(first);
    await first.start('first');
    await Promise.all(others.map((node) => node.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    isAlike: async (name) => {
      const tables = await first.ask<{ name: string }>(
        `select table_name as name from information_schema.tables where table_schema = '${name}' order by table_name`,
      );
      const checksums = `checksum table ${tables.map((table) => `\`${name}\`.\`${table.name}\``).join(', ')}`;
      const [one, ...rest] = await Promise.all(nodes.map(async (node) => JSON.stringify(await node.ask(checksums))));
      return rest.every((other) => other === one);
    },
    bootstrap: async () => {
      const positions = await Promise.all(nodes.map((node) => node.position()));
      const furthest = nodes[positions.indexOf(Math.max(...positions))] as GaleraNode;
      await furthest.start('first');
      await Promise.all(nodes.filter((node) => node !== furthest).map((node) => node.start()));
    },
    ...{ nodes, password, stop, hosts: addresses.map((address) => `${address}:${port}`) },
    createDatabase: async (name) => {
      await first.ask(`create database \`${name}\`; grant all on \`${name}\`.* to waystation@'%'`);
      for (const node of nodes) await node.ask(`set session wsrep_sync_wait = 15; select count(*) from mysql.db; use \`${name}\``);
    },
  };
}
