import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, connectLocal } from '../../../cli/client.ts';
import type { Name } from '../../../core/ids.ts';
import type { Toolbox } from '../../../server/engine/debian/toolbox.ts';
import { cacheDirectory } from '../cache.ts';
import { freePort } from '../free-port.ts';
import { makeSite } from '../replication-sites.ts';
import { startServeProcess } from '../serve-process.ts';
import { BRANCH_PORT, buildBranchDisks, MEDIA } from './branch.ts';
import { type BranchApi, branchApi, readErrors } from './branch-api.ts';
import { makeDiskFrom, openDiskTools } from './disk.ts';
import { type Guest, makeGuest } from './guest.ts';
import { buildGuestKernel } from './kernel.ts';

/** Emulated, on a machine that does other things too. */
const BOOT_MS = 300_000;
const DATA_MIB = 1024;
const COMPLAINT = /EXT4-fs (error|warning)|JBD2:.*(error|corrupt)|I\/O error/i;

/** A headquarters on this host, and its branch in a guest whose power can be cut. */
export type SitePair = {
  readonly hq: Client;
  readonly hqDatabase: string;
  readonly branch: BranchApi;
  readonly guest: Guest;
  readonly dataDisk: string;
  readonly toolbox: Toolbox;
  /** Starts the guest and waits until its server answers; gives the seconds that took. Rejects when its file system complains. */
  boot(): Promise<number>;
  /** What the branch says of itself: its errors, or that it does not answer; and the end of its console. */
  lastWords(): Promise<string>;
  /** The branch enrols; once, while it runs. */
  enrol(): Promise<void>;
  close(): Promise<void>;
};

/** `media` writes the files that the branch will import, at /media. The guest is off. */
export async function makeSitePair(root: string, media: (folder: string) => Promise<void>): Promise<SitePair> {
  const cacheDir = cacheDirectory();
  const toolbox = await openDiskTools(cacheDir);
  const { program, sources } = await buildBranchDisks(cacheDir, root);
  const dataDisk = await makeDataDisk(toolbox, root);
  const hostPort = await freePort();
  const guest = await makeGuest({
    directory: join(root, 'guest'),
    kernel: await buildGuestKernel(cacheDir),
    program,
    dataDisk,
    readOnly: [
      { file: sources, place: '/opt/waystation' },
      { file: await makeMediaDisk(toolbox, root, media), place: MEDIA },
    ],
    forward: [{ hostPort, guestPort: BRANCH_PORT }],
  });
  const hqDirectory = join(root, 'hq');
  await (await makeSite(root, 'hq')).close();
  const serving = await startServeProcess(hqDirectory);
  const hq = await connectLocal(hqDirectory);
  const branch = branchApi(hostPort);
  return {
    ...{ hq, hqDatabase: join(hqDirectory, 'db.sqlite'), branch, guest, dataDisk, toolbox },
    boot: () => boot(guest, branch),
    lastWords: async () => {
      const errors = await readErrors(branch).catch((error: unknown) => String(error));
      return `errors of the branch: ${errors}\nconsole of its machine: ${(await guest.consoleText()).slice(-1500)}`;
    },
    enrol: async () => {
      const { token } = await hq.post<{ token: string }>('/api/v1/enrol-tokens', { name: 'branch' });
      // This host, as its guest sees it.
      await branch.post('/servers/join', { url: `https://10.0.2.2:${serving.httpsPort}`, token });
    },
    close: async () => {
      await guest.close();
      await serving.stop();
    },
  };
}

async function boot(guest: Guest, branch: BranchApi): Promise<number> {
  const machine = await guest.boot();
  const started = performance.now();
  await machine.waitForSerial(/"httpsUrl"/, BOOT_MS);
  await branch.get('/links');
  const text = await machine.serialText();
  if (COMPLAINT.test(text)) throw new Error(`the guest's file system complains:\n${text}`);
  return (performance.now() - started) / 1000;
}

async function makeDataDisk(toolbox: Toolbox, root: string): Promise<string> {
  const from = join(root, 'own');
  await (await makeSite(from, 'site', { name: 'branch' as Name })).close();
  const out = join(root, 'data.raw');
  await makeDiskFrom(toolbox, { from, out, sizeMib: DATA_MIB });
  return out;
}

async function makeMediaDisk(toolbox: Toolbox, root: string, media: (folder: string) => Promise<void>): Promise<string> {
  const [from, out] = [join(root, 'media'), join(root, 'media.raw')];
  await mkdir(from);
  await writeFile(join(from, 'README'), 'files for the branch to import\n');
  await media(from);
  await makeDiskFrom(toolbox, { from, out, sizeMib: 256, readOnly: true });
  return out;
}
