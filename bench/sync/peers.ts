import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Wan } from '../../test/helpers/wan.ts';
import { firstLine } from './measure.ts';
import { CASYNC, FULL, GET, type Measured, PATCH, RSYNC_STORE, RSYNC_Z } from './table.ts';

/** How one peer brings a case to the branch: a command line there, and which server of headquarters it talks to. */
export type Peer = {
  readonly key: string;
  readonly method: string;
  readonly server: 'http' | 'rsync';
  readonly on: readonly Measured['on'][];
  /** What lies in the working directory before, by name there and file in the peers' folder. */
  readonly held: Readonly<Record<string, string>>;
  readonly command: (name: string, url: { readonly http: string; readonly rsync: string; readonly directory: string }) => string;
};

const UPDATES = ['inplace', 'rebuilt', 'kernel'] as const;
const ALL = ['first', ...UPDATES] as const;
const run = promisify(execFile);

/** `first` brings the base itself to an empty branch. */
export function fileOf(on: Measured['on']): string {
  return on === 'first' || on === 'nothing' ? 'base' : on;
}

export const PEERS: readonly Peer[] = [
  {
    key: 'full',
    method: FULL,
    server: 'http',
    on: ALL,
    held: {},
    command: (name, { http }) => `lftp -c 'get ${http}/${name}.pcl.zst -o out'`,
  },
  { key: 'get', method: GET, server: 'http', on: ALL, held: {}, command: (name, { http }) => `curl -sSf -o out ${http}/${name}.pcl.zst` },
  {
    key: 'rsync-raw',
    method: RSYNC_Z,
    server: 'rsync',
    on: UPDATES,
    held: { out: 'base.raw' },
    command: (name, { rsync }) => `rsync --inplace -z --compress-choice=zstd ${rsync}/${name}.raw out`,
  },
  {
    key: 'rsync-pcl',
    method: 'rsync -z of the uncompressed partclone file',
    server: 'rsync',
    on: UPDATES,
    held: { out: 'base.pcl' },
    command: (name, { rsync }) => `rsync --inplace -z --compress-choice=zstd ${rsync}/${name}.pcl out`,
  },
  {
    key: 'zsync',
    method: 'zsync of the raw disk',
    server: 'http',
    on: UPDATES,
    held: { 'base.raw': 'base.raw' },
    command: (name, { http }) => `zsync -q -i base.raw -o out ${http}/${name}.raw.zsync`,
  },
  {
    key: 'casync',
    method: CASYNC,
    server: 'http',
    on: UPDATES,
    held: { 'base.raw': 'base.raw' },
    command: (name, { http }) => `casync extract --seed=base.raw --store=${http}/store.castr ${http}/${name}.caibx out`,
  },
  {
    key: 'patch',
    method: PATCH,
    server: 'http',
    on: UPDATES,
    held: { 'base.pcl': 'base.pcl' },
    command: (name, { http }) => `curl -sSf ${http}/${name}.patch | zstd -q -d --long=31 --patch-from=base.pcl -o out -f`,
  },
  {
    key: 'rsync-store',
    method: RSYNC_STORE,
    server: 'rsync',
    on: ['nothing'],
    held: { 'base.castr': 'base.castr' },
    command: (_, { rsync }) => `rsync -a ${rsync}/base.castr/ base.castr/`,
  },
];

/** The two servers of headquarters that peers talk to, both over the peers' folder. */
export type PeerServers = {
  readonly pids: { readonly http: number; readonly rsync: number };
  readonly urls: { http: string; rsync: string };
};

const HTTP_PORT = 8000;
const RSYNC_PORT = 8730;

export async function startPeerServers(wan: Wan, directory: string, scratch: string): Promise<PeerServers> {
  const server = join(import.meta.dirname, 'http-server.ts');
  const http = wan.hq.spawn([process.execPath, '--no-warnings', server, directory, wan.hqAddress, String(HTTP_PORT)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await firstLine(http);
  const config = join(scratch, 'rsyncd.conf');
  const words = ['use chroot = no', 'uid = root', 'gid = root', '[data]', `path = ${directory}`, 'read only = yes'];
  await writeFile(config, `${words.join('\n')}\n`);
  const daemon = ['rsync', '--daemon', '--no-detach', `--config=${config}`, `--port=${RSYNC_PORT}`, `--address=${wan.hqAddress}`];
  const rsync = wan.hq.spawn(daemon, { stdio: 'inherit' });
  return {
    pids: { http: http.pid as number, rsync: rsync.pid as number },
    urls: { http: `http://${wan.hqAddress}:${HTTP_PORT}`, rsync: `rsync://${wan.hqAddress}:${RSYNC_PORT}/data` },
  };
}

/** A fresh working directory of the branch with what the peer has from before. */
export async function layOutBranch(peer: Peer, { work, directory }: { work: string; directory: string }): Promise<void> {
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  for (const [name, file] of Object.entries(peer.held)) {
    await run('cp', ['-a', '--sparse=always', '--reflink=auto', join(directory, file), join(work, name)]);
  }
  await run('sync', []);
}
