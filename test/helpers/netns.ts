import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A network namespace of one test. Needs root. */
export type Netns = {
  readonly name: string;
  /** `ip -n NAME ...` */
  ip(...words: readonly string[]): Promise<void>;
  spawn(command: readonly string[], options?: SpawnOptions): ChildProcess;
};

export type Networks = {
  add(label: string): Promise<Netns>;
  /** Joins two namespaces by a veth pair; both ends come up. Addresses are `A.B.C.D/LENGTH`. */
  join(a: Netns, aLink: string, b: Netns, bLink: string): Promise<void>;
  /** Stops what was spawned and removes the namespaces. */
  close(): Promise<void>;
};

/** Names are random, so that tests beside each other do not meet. */
export function createNetworks(): Networks {
  const tag = `wt${randomBytes(3).toString('hex')}`;
  const spaces: string[] = [];
  const children: ChildProcess[] = [];
  return {
    add: async (label) => {
      const name = `${tag}-${label}`;
      await run('ip', ['netns', 'add', name]);
      spaces.push(name);
      await run('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
      return {
        name,
        ip: async (...words) => {
          await run('ip', ['-n', name, ...words]);
        },
        spawn: ([command, ...words], options = {}) => {
          const child = spawn('ip', ['netns', 'exec', name, command as string, ...words], options);
          children.push(child);
          return child;
        },
      };
    },
    join: async (a, aLink, b, bLink) => {
      await run('ip', ['link', 'add', aLink, 'netns', a.name, 'type', 'veth', 'peer', 'name', bLink, 'netns', b.name]);
      await a.ip('link', 'set', aLink, 'up');
      await b.ip('link', 'set', bLink, 'up');
    },
    close: async () => {
      await Promise.all(children.map(stop));
      for (const name of spaces) await run('ip', ['netns', 'del', name]);
    },
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await gone;
}
