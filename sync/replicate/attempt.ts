import { rm, stat } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { AppError } from '../../core/errors.ts';
import type { ArchivePart } from '../../core/sync-protocol.ts';
import { WAITING_BYTES, WINDOW_BYTES } from '../tunnel/frames.ts';
import { fetchPart, type RsyncEnd } from '../tunnel/rsync-process.ts';
import { runTunnel, type TunnelOptions } from '../tunnel/tunnel.ts';
import type { Turn } from './arrival.ts';
import type { PartWish } from './fetch-part.ts';
import { diskFull } from './free-space.ts';
import type { RunTools } from './ports.ts';

/** rsync sends a part at most twice over one connection (again, when the end of --append-verify does not fit), and greets. */
const mostReceived = (part: ArchivePart) => 2 * part.sizeBytes + 1_048_576;

const TELL_PARENT = 'nothing of it was taken; ask who runs the parent';

/** After rsync has ended, how long the two ENDs may take to cross before the link is simply closed. */
const PARTING_MS = 2_000;

/**
 * One rsync over one tunnel, both started at once: rsync and its pipe are ready when the parent answers. Resolves when
 * rsync returned 0; that says nothing about the part yet.
 * Throws what opening the tunnel throws (`not_found`: the archive is gone; `denied`, `revoked`, …), `unreachable` when the
 * link broke, `disk_full`, `missing_program`, `version_mismatch` when the parent's daemon refuses our options, `bad_data` when it
 * sends more than the part or another file, `bad_packet` when it breaks the tunnel's rules.
 */
export async function runRsync(tools: RunTools, { key, part, locked, onBytes, turn }: PartWish): Promise<void> {
  let held = await sizeOf(locked.path);
  let received = 0;
  const onData = ({ received: octets }: { received: number }) => {
    held += octets;
    received += octets;
    if (received > mostReceived(part)) void opened.then((link) => link?.destroy());
    tools.onRsyncBytes(octets);
    onBytes(Math.min(held, part.sizeBytes));
  };
  const isEarly = turn !== undefined && !turn.isWhole();
  const opening = tools.content.openTunnel(key, isEarly ? { credit: WAITING_BYTES } : {});
  const keptBack = isEarly ? keptBackUntil(turn) : [];
  // Until the pipe arrives nobody reads the link: an error must not be nobody's.
  const opened = opening.then(
    ({ link }) => link.on('error', () => undefined),
    () => undefined,
  );
  let tunnel: Promise<unknown> = opened;
  let pipe: Socket | undefined;
  // rsync is told to end by the signal; its pipe waits for the parent, who may be silent, unless both of its ends are cut.
  const cut = () => {
    pipe?.destroy();
    void opened.then((link) => link?.destroy());
  };
  tools.signal.addEventListener('abort', cut, { once: true });
  const { ticket, revoke } = tools.pipes.issue((socket: Socket) => {
    pipe = socket;
    if (tools.signal.aborted) socket.destroy();
    tunnel = joinTunnel(opening, socket, { onData, keptBack }).catch((error) => error);
  });
  try {
    const socketPath = tools.pipes.path;
    const { name, sizeBytes } = part;
    const request = { part: name, sizeBytes, directory: locked.directory, socketPath, ticket, lock: locked.lock, signal: tools.signal };
    const end = await fetchPart(request);
    tools.signal.throwIfAborted();
    // A pipe that never came, with a parent that refused: that is what to tell.
    await Promise.race([opening, tools.sleep(PARTING_MS)]);
    const broken = await Promise.race([tunnel, tools.sleep(PARTING_MS)]);
    if (received > mostReceived(part) || (await sizeOf(locked.path)) > sizeBytes) throw await tooMuch(part, locked.path);
    judgeEnd(end, broken, locked.path);
  } finally {
    tools.signal.removeEventListener('abort', cut);
    revoke();
    opened.then((link) => link?.destroy());
  }
}

/** A parent that is at work is heard of more often, however little it may send. */
const LONGEST_SILENCE_MS = 60_000;

/** While the part before is on its way its window and ours are one; so we get half of it when half is free. */
function keptBackUntil({ half, whole }: Turn): readonly Promise<number>[] {
  return [half.then(() => WINDOW_BYTES / 2 - WAITING_BYTES), whole.then(() => WINDOW_BYTES / 2)];
}

async function joinTunnel(
  opening: ReturnType<RunTools['content']['openTunnel']>,
  socket: Socket,
  rest: Pick<TunnelOptions, 'onData' | 'keptBack'>,
) {
  try {
    const { link, head } = await opening;
    await runTunnel({ link, head, input: socket, output: socket, silenceMs: LONGEST_SILENCE_MS, ...rest });
  } finally {
    // The pipe ends with it, and rsync with the pipe.
    socket.destroy();
  }
}

/** Turns rsync's exit status and the fate of the link into an error that says which. Source: rsync(1), EXIT VALUES. */
function judgeEnd({ status, words }: RsyncEnd, broken: unknown, path: string): void {
  // It is the status of our pipe when the daemon alone failed, so 0 says little: the caller looks at the part.
  if (broken instanceof AppError && broken.code === 'bad_packet') throw broken;
  if (status === 0) return;
  // Since 3.2.5 rsync refuses a list of files that holds others than it asked for.
  if (/rejecting|unrequested|invalid file-list/i.test(words)) {
    throw new AppError('bad_data', `the parent sent another file than the part: ${words}`, { hint: TELL_PARENT });
  }
  // What the shell and the loader say of a program that is not there, or lacks a library. None of it comes from the parent.
  if (status === 126 || status === 127) {
    throw new AppError('missing_program', `rsync, or the perl that it starts, cannot run on this machine: ${words || `status ${status}`}`, {
      hint: 'apt install --reinstall rsync perl-base; see waystation doctor',
    });
  }
  if (status === 11 || words.includes('No space left')) throw diskFull(path, 'ran out of space', words);
  const isRefused = /@ERROR|rather than greeting/.test(words);
  if (broken instanceof AppError && !isRefused) throw broken;
  if (isRefused || status === 4 || status === 5) {
    throw new AppError('version_mismatch', `the parent's rsync daemon refused: ${words}`, { hint: 'upgrade the older of the two servers' });
  }
  // Anything else is a stream that ended too early (10, 12, 30, a signal): the next attempt continues it.
  throw new AppError('unreachable', `rsync ended with ${status ?? 'a signal'} before the part was whole: ${words}`, {
    hint: 'the link to the parent broke; the run goes on where it stood',
  });
}

/** What lies there is no beginning of the part: it goes at once. */
async function tooMuch(part: ArchivePart, path: string): Promise<AppError> {
  await rm(path, { force: true });
  return new AppError('bad_data', `the parent sent more than the ${part.sizeBytes} bytes of part ${part.name}`, { hint: TELL_PARENT });
}

async function sizeOf(path: string): Promise<number> {
  // Nothing is there yet; whatever else keeps us from looking, rsync will say.
  const found = await stat(path).catch(() => undefined);
  return found?.size ?? 0;
}
