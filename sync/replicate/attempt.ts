import { stat } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { AppError } from '../../core/errors.ts';
import { fetchPart, type RsyncEnd } from '../tunnel/rsync-process.ts';
import { runTunnel, type TunnelOptions } from '../tunnel/tunnel.ts';
import type { PartWish } from './fetch-part.ts';
import { diskFull } from './free-space.ts';
import type { RunTools } from './ports.ts';

/** After rsync has ended, how long the two ENDs may take to cross before the link is simply closed. */
const PARTING_MS = 2_000;

/**
 * One rsync over one tunnel, both started at once: rsync and its pipe are ready when the parent answers. Resolves when
 * rsync returned 0; that says nothing about the part yet.
 * Throws what opening the tunnel throws (`not_found`: the archive is gone; `denied`, `revoked`, …), `unreachable` when the
 * link broke, `disk_full`, `missing_program`, `version_mismatch` when the parent's daemon refuses our options.
 */
export async function runRsync(tools: RunTools, { key, part, locked, onBytes }: PartWish): Promise<void> {
  let held = await stat(locked.path).then(
    (found) => found.size,
    () => 0,
  );
  const onData = ({ received }: { received: number }) => {
    held += received;
    tools.onRsyncBytes(received);
    onBytes(Math.min(held, part.sizeBytes));
  };
  const opening = tools.content.openTunnel(key);
  // Until the pipe arrives nobody reads the link: an error must not be nobody's.
  const opened = opening.then(
    ({ link }) => link.on('error', () => undefined),
    () => undefined,
  );
  let tunnel: Promise<unknown> = opened;
  const { ticket, revoke } = tools.pipes.issue((socket: Socket) => {
    tunnel = joinTunnel(opening, socket, onData).catch((error) => error);
  });
  try {
    const socketPath = tools.pipes.path;
    const request = { part: part.name, directory: locked.directory, socketPath, ticket, lock: locked.lock, signal: tools.signal };
    const end = await fetchPart(request);
    // A pipe that never came, with a parent that refused: that is what to tell.
    await Promise.race([opening, tools.sleep(PARTING_MS)]);
    const broken = await Promise.race([tunnel, tools.sleep(PARTING_MS)]);
    judgeEnd(end, broken, locked.path);
  } finally {
    revoke();
    opened.then((link) => link?.destroy());
  }
}

async function joinTunnel(opening: ReturnType<RunTools['content']['openTunnel']>, socket: Socket, onData: TunnelOptions['onData']) {
  try {
    const { link, head } = await opening;
    await runTunnel({ link, head, input: socket, output: socket, ...(onData === undefined ? {} : { onData }) });
  } finally {
    // The pipe ends with it, and rsync with the pipe.
    socket.destroy();
  }
}

/** Turns rsync's exit status and the fate of the link into an error that says which. Source: rsync(1), EXIT VALUES. */
function judgeEnd({ status, words }: RsyncEnd, broken: unknown, path: string): void {
  // It is the status of our pipe when the daemon alone failed, so 0 says little: the caller looks at the part.
  if (status === 0) return;
  if (status === 11 || words.includes('No space left')) throw diskFull(path, 'ran out of space', words);
  if (broken instanceof AppError) throw broken;
  if (status === 4 || status === 5) {
    throw new AppError('version_mismatch', `the parent's rsync daemon refused: ${words}`, { hint: 'upgrade the older of the two servers' });
  }
  // Anything else is a stream that ended too early (10, 12, 30, a signal): the next attempt continues it.
  throw new AppError('unreachable', `rsync ended with ${status ?? 'a signal'} before the part was whole: ${words}`, {
    hint: 'the link to the parent broke; the run goes on where it stood',
  });
}
