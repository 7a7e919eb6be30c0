import { chmod, link, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { BuiltArchive } from '../../core/content-store.ts';
import type { Id } from '../../core/ids.ts';
import { daemonConfig } from '../../sync/tunnel/daemon-config.ts';
import { onceClosed } from '../../sync/tunnel/once-closed.ts';
import { startDaemon } from '../../sync/tunnel/rsync-process.ts';
import { runTunnel } from '../../sync/tunnel/tunnel.ts';
import type { Site } from '../site.ts';
import { openTunnelLane, type TunnelLane } from './egress.ts';

/** What a killed process leaves of them goes when the store is opened. */
const PREFIX = 'tunnel-';

export type ServedTunnel = {
  readonly archive: BuiltArchive;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly childId: Id;
  /** What the child told as its cap when it came, bits per second. */
  readonly bps: number | null;
  /** How much the child lets us send before its first CREDIT; absent: the window. */
  readonly credit?: number;
};

/**
 * The parent's end of a tunnel: an rsync daemon that sees the parts of one archive and nothing else, for as long as
 * the link lives, at the child's cap and its share of our egress. When the link goes (revoked, paused, broken, serve
 * stopped) the daemon is killed; when the daemon goes the link ends. The directory and its configuration go with them.
 */
export async function serveTunnel(site: Site, { childId, bps, ...served }: ServedTunnel): Promise<void> {
  const { socket } = served;
  const lane = await openTunnelLane(site, childId, { bps, onPaused: () => socket.destroy() });
  // A link that goes while its lane waits for its turn must not wait on.
  onceClosed(socket, lane.close);
  try {
    await serveLane(site, { ...served, lane });
  } finally {
    lane.close();
  }
}

/** As `serveTunnel`, towards a server above that takes what we offer: no child's cap or share counts there. */
export function serveUpwards(site: Site, served: Pick<ServedTunnel, 'archive' | 'socket' | 'head'>): Promise<void> {
  return serveLane(site, served);
}

type Served = Pick<ServedTunnel, 'archive' | 'socket' | 'head' | 'credit'> & { readonly lane?: TunnelLane };

async function serveLane(site: Site, { archive, socket, head, lane, credit }: Served): Promise<void> {
  const directory = await mkdtemp(join(await tunnelRoot(site), PREFIX));
  try {
    const daemon = startDaemon(await layOut(directory, archive));
    // A missing rsync shows here: the link ends, and the child's rsync says that it ended.
    const ended = daemon.ended.then(
      ({ words }) => words,
      (error: Error) => error.message,
    );
    try {
      const paced = lane === undefined ? {} : { pace: lane.pace, onCap: lane.setCap };
      const begun = credit === undefined ? {} : { credit };
      await runTunnel({ link: socket, head, input: daemon.output, output: daemon.input, ...begun, ...paced });
    } finally {
      daemon.kill();
      const words = await ended;
      if (words !== '') site.log.warn('the rsync daemon of a tunnel complained', { words });
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** On the store's file system, so that parts can be linked instead of copied. */
async function tunnelRoot(site: Site): Promise<string> {
  const root = join(site.dataDir, 'store', 'tmp');
  await mkdir(root, { recursive: true, mode: 0o700 });
  return root;
}

/** Links exactly this archive's parts into a directory of their own and writes the configuration; gives its path. */
async function layOut(directory: string, archive: BuiltArchive): Promise<string> {
  const asRoot = process.getuid?.() === 0;
  const parts = join(directory, 'parts');
  await mkdir(parts, { mode: 0o755 });
  for (const { name } of archive.parts) {
    await link(join(archive.directory, name), join(parts, name));
    // As root the daemon reads as `nobody`; DIR itself keeps everybody else out.
    if (asRoot) await chmod(join(parts, name), 0o644);
  }
  const config = join(directory, 'rsyncd.conf');
  await writeFile(config, daemonConfig({ directory: parts, asRoot }), { mode: 0o600 });
  return config;
}
