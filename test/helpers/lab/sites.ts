import { join } from 'node:path';
import { ASKING_A_SERVER, waitUntil } from '../wait-until.ts';
import type { LabNetwork } from './network.ts';
import { initServer, type LabServer, type ServerOptions } from './server.ts';
import type { Timeline } from './timeline.ts';

export type Sites = { readonly hq: LabServer; readonly branch: LabServer; close(): Promise<void> };

export type Run = {
  readonly id: string;
  readonly state: string;
  readonly generation: number;
  readonly bytesNeeded: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly bytesRsync: number;
  readonly requests: number;
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly error: { code: string; message: string } | null;
  readonly progress?: { stage: string; percent: number; etaSeconds: number | null } | null;
};

/** Ports that any user may open, free ones. */
export const ANY_PORTS = ['--http-port', '0', '--https-port', '0', '--tftp-port', '0'];

/** A master "hq" and a branch "branch-1": two real processes with their own data directories. */
export async function startSites(
  workDir: string,
  network: LabNetwork,
  { branchEnv = {}, database }: { branchEnv?: Record<string, string>; database?: string | undefined } = {},
): Promise<Sites> {
  const pxe = network.branch.lan ? ['--pxe', 'proxy', '--interface', network.branch.lan] : [];
  const meets = database === undefined ? [] : ['--database', database];
  const ports = [...(network.kind === 'bridge' ? [] : ANY_PORTS), ...meets];
  const hqOptions: ServerOptions = { name: 'hq', dataDir: join(workDir, 'hq'), netns: network.hq.netns, initArgs: ports };
  const branchOptions: ServerOptions = {
    name: 'branch-1',
    dataDir: join(workDir, 'branch-1'),
    netns: network.branch.netns,
    initArgs: [...ports, ...pxe],
    env: branchEnv,
  };
  const hq = await initServer(hqOptions);
  try {
    const branch = await initServer(branchOptions);
    return {
      hq,
      branch,
      close: async () => {
        await branch.stop();
        await hq.stop();
      },
    };
  } catch (error) {
    await hq.stop();
    throw error;
  }
}

/** The branch enrols with a one-time token and gets a schedule. */
export async function enrol({ hq, branch }: Sites, network: LabNetwork, timeline: Timeline, schedule = '*/10 * * * * *'): Promise<void> {
  const { token } = await hq.json<{ token: string }>('server', 'token', '--name', 'branch-1');
  timeline.say('hq', 'gave a one-time enrolment token for branch-1');
  const url = `https://${network.hq.address}:${new URL(hq.addresses.httpsUrl).port || 443}`;
  await branch.json('server', 'join', url, '--enrol-file', await secretFile(branch.dataDir, token));
  timeline.say('branch-1', `enrolled at ${url}, hq's certificate authority is pinned`);
  await setSchedule(branch, timeline, schedule);
}

async function setSchedule(branch: LabServer, timeline: Timeline, schedule: string): Promise<void> {
  await branch.json('sync', 'schedule', 'set', schedule, '--timezone', 'Europe/Berlin');
  timeline.say('branch-1', `replicates by its schedule "${schedule}", Europe/Berlin`);
}

/** Headquarters is made the parent of the branch in the database where both meet; the branch enrols there by itself. */
export async function assignParent({ hq, branch }: Sites, timeline: Timeline, schedule = '*/10 * * * * *'): Promise<void> {
  await waitUntil(
    'hq sees branch-1 in the database',
    async () => {
      const { items } = await hq.get<{ items: { name: string }[] }>('/api/v1/servers');
      return items.some(({ name }) => name === 'branch-1');
    },
    { ...ASKING_A_SERVER, limitMs: 60_000 },
  );
  await hq.json('server', 'parent', 'set', 'branch-1', '--parent', 'hq');
  timeline.say('hq', 'is wished as the parent of branch-1, in the database');
  await waitUntil(
    'branch-1 has enrolled at hq',
    async () => {
      const { items } = await branch.get<{ items: { name: string; relation: string }[] }>('/api/v1/servers');
      return items.some(({ name, relation }) => name === 'hq' && relation === 'parent');
    },
    { ...ASKING_A_SERVER, limitMs: 60_000 },
  );
  timeline.say('branch-1', "enrolled at hq by itself, hq's certificate authority is pinned");
  await setSchedule(branch, timeline, schedule);
}

async function secretFile(dataDir: string, secret: string): Promise<string> {
  const { writeFile } = await import('node:fs/promises');
  const path = `${dataDir}.enrol`;
  await writeFile(path, secret, { mode: 0o600 });
  return path;
}

/** Waits until the branch's own schedule has published these images; gives the run that did. */
export async function waitForReplication({ branch }: Sites, names: readonly string[], timeline: Timeline): Promise<Run> {
  const history = () => branch.get<{ items: Run[] }>('/api/v1/runs');
  const published = waitUntil(
    `branch-1 holds ${names.join(', ')}`,
    async () => {
      const { items } = await branch.get<{ items: { name: string; state?: string }[] }>('/api/v1/images');
      const held = items.filter((image) => image.state === undefined || image.state === 'published').map((image) => image.name);
      return names.every((name) => held.includes(name));
    },
    { ...ASKING_A_SERVER, limitMs: 600_000 },
  );
  await timeline.during('branch-1', 'replication', async () => (await history()).items[0]?.progress ?? undefined, published);
  const { items } = await history();
  const run = items.find((candidate) => candidate.state === 'done' && candidate.bytesNeeded > 0);
  if (!run) throw new Error(`no finished run in ${JSON.stringify(items)}`);
  return run;
}
