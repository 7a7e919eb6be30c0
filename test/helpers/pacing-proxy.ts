import { connect, createServer, type Socket } from 'node:net';

/** A slow link between two servers of this machine, which counts what it carries. */
export type PacingProxy = {
  readonly port: number;
  /** Octets that came from the upstream side (`down`) and from the clients (`up`) so far. */
  readonly bytes: { down: number; up: number };
  /** Where new connections go; nothing listens there until this was called. */
  setUpstream(port: number): void;
  /** Changes the speed of new reads. */
  setBytesPerSecond(bytesPerSecond: number): void;
  /** Swallows all that comes from now on, also that a side has gone, and closes nothing; `false`: what was held goes on, as TCP would send it again. */
  setSilent(isSilent: boolean): void;
  /** Breaks all connections. */
  cut(): void;
  close(): Promise<void>;
};

/** Carries TCP in user space, `bytesPerSecond` down over all connections together, unpaced up, `latencyMs` later each way. */
export async function startPacingProxy({ bytesPerSecond, latencyMs }: { bytesPerSecond: number; latencyMs: number }): Promise<PacingProxy> {
  const bytes = { down: 0, up: 0 };
  const open = new Set<Socket>();
  let upstream = 0;
  let speed = bytesPerSecond;
  let freeAt = 0;
  let held: (() => void)[] | undefined;
  const unlessSilent = (act: () => void) => {
    if (held === undefined) act();
    else held.push(act);
  };
  const pace = (length: number) => {
    freeAt = Math.max(freeAt, performance.now()) + (length / speed) * 1000;
    return freeAt - performance.now();
  };
  const carry = (from: Socket, to: Socket, waitMs: (length: number) => number, way: 'down' | 'up') => {
    // On a busy machine timers of different lengths do not fire in the order of their times: whichever does, what came first goes first.
    const late: (() => void)[] = [];
    const later = (act: () => void, ms: number) => {
      late.push(act);
      setTimeout(() => unlessSilent(late.shift() ?? act), ms);
    };
    from.on('data', (chunk) => {
      bytes[way] += chunk.length;
      from.pause();
      setTimeout(() => unlessSilent(() => from.resume()), waitMs(chunk.length));
      later(() => to.writable && to.write(chunk), waitMs(0) + latencyMs);
    });
    from.on('end', () => later(() => to.end(), waitMs(0) + latencyMs + 1));
    from.on('error', () => unlessSilent(() => to.destroy()));
    from.on('close', () => later(() => to.destroy(), waitMs(0) + latencyMs + 1));
  };
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const parent = connect({ port: upstream, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    for (const socket of [client, parent]) {
      open.add(socket);
      socket.on('close', () => open.delete(socket));
    }
    carry(parent, client, (length) => Math.max(0, length === 0 ? freeAt - performance.now() : pace(length)), 'down');
    carry(client, parent, () => 0, 'up');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  return {
    port: (server.address() as { port: number }).port,
    bytes,
    setUpstream: (port) => {
      upstream = port;
    },
    setBytesPerSecond: (wanted) => {
      speed = wanted;
    },
    setSilent: (isSilent) => {
      const late = held ?? [];
      held = isSilent ? late : undefined;
      if (!isSilent) for (const act of late) act();
    },
    cut,
    close: () => {
      held = undefined;
      cut();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
