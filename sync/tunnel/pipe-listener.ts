import { randomBytes } from 'node:crypto';
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';

const TICKET_BYTES = 32;
/** A pipe that connects and says nothing is not ours. */
const TICKET_WAIT_MS = 10_000;

/** DIR/run/sync.sock: where the pipes of our rsyncs arrive. */
export type PipeListener = {
  readonly path: string;
  /** A ticket good for one connection, which is handed to `take`. `revoke` makes it worthless; harmless afterwards. */
  issue(take: (socket: Socket) => void): { readonly ticket: string; readonly revoke: () => void };
  close(): Promise<void>;
};

/** Listens on a UNIX socket (mode 0600), in place of one that a dead process left. The caller holds DIR/lock. */
export async function openPipeListener(path: string): Promise<PipeListener> {
  const waiting = new Map<string, (socket: Socket) => void>();
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
    readTicket(socket, (ticket) => {
      const take = waiting.get(ticket);
      waiting.delete(ticket);
      if (take === undefined) socket.destroy();
      else take(socket);
    });
  });
  await rm(path, { force: true });
  await listen(server, path);
  await chmod(path, 0o600);
  return {
    path,
    issue(take) {
      const ticket = randomBytes(TICKET_BYTES).toString('hex');
      waiting.set(ticket, take);
      return { ticket, revoke: () => void waiting.delete(ticket) };
    },
    close: () => {
      for (const socket of open) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Takes the first line off a new connection; what follows it stays in the stream. */
function readTicket(socket: Socket, then: (ticket: string) => void): void {
  const length = TICKET_BYTES * 2 + 1;
  const timer = setTimeout(() => socket.destroy(), TICKET_WAIT_MS);
  socket.on('close', () => clearTimeout(timer));
  const read = () => {
    const line = socket.read(length) as Buffer | null;
    if (line === null) return;
    clearTimeout(timer);
    socket.off('readable', read);
    then(line.toString('latin1').trimEnd());
  };
  socket.on('readable', read);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => resolve());
  });
}
