import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { Logger } from 'winston';
import { describeError } from '../../core/errors.ts';
import { printable } from '../../core/ids.ts';
import { type LogLimit, logLimit } from '../boot/log-limit.ts';
import { closeSocket } from '../close-socket.ts';
import { bindError } from '../launcher/bind-error.ts';
import { negotiate } from './negotiate.ts';
import { decodePacket, encodeError, type ReadRequest, TFTP_ERROR, type TftpPacket } from './packet.ts';
import { DEFAULT_LIMITS, type Session, type SessionLimits, SessionTable } from './sessions.ts';
import { newTransfer, step, type TransferAction, type TransferEvent } from './transfer.ts';

/** The files that can be read: a fixed list of names, nothing of the disk. */
export type TftpFiles = {
  /** The whole content (boot loaders, at most a few MiB), or undefined when there is no such name. */
  read(name: string): Promise<Uint8Array | undefined>;
};

export type TftpOptions = {
  /** 0 = any free port. */
  readonly port: number;
  readonly address?: string;
  readonly files: TftpFiles;
  readonly log: Pick<Logger, 'info' | 'warn' | 'debug'>;
  /** Largest packet towards this address. */
  readonly mtuTowards: (address: string) => number;
  readonly limits?: SessionLimits;
  /** Monotonic milliseconds. */
  readonly clock?: () => number;
};

export type TftpServer = { readonly port: number; readonly sessions: () => number; close(): Promise<void> };

/** Room for the acknowledgements of a thousand clients that arrive in one turn of the loop. */
const RECEIVE_BUFFER = 4 << 20;
/** Requests whose file is being read; more of them are dropped, clients ask again. */
const MAX_OPENING = 512;

type Server = Required<Omit<TftpOptions, 'port' | 'address'>> & {
  readonly requests: Socket;
  /** All transfers share one socket, and so one server TID; a session is known by the client's address and port. */
  readonly transfers: Socket;
  readonly table: SessionTable;
  readonly opening: Set<string>;
  readonly complain: LogLimit;
  isClosed: boolean;
};

/**
 * A read-only TFTP server: RFC 1350, 2347, 2348, 2349, 7440. Requests come to `port`, transfers run
 * from a second port (their TID). Bad packets are dropped and counted in the log, a dead socket is an error.
 * Errors: `port_in_use`, `denied`.
 */
export async function startTftp(options: TftpOptions): Promise<TftpServer> {
  const requests = await openSocket(options.port, options.address, 'TFTP');
  const transfers = await openSocket(0, options.address, 'TFTP transfers');
  const server: Server = {
    limits: DEFAULT_LIMITS,
    clock: () => performance.now(),
    ...options,
    requests,
    transfers,
    table: new SessionTable(options.limits ?? DEFAULT_LIMITS),
    opening: new Set(),
    complain: logLimit(options.log, 'tftp'),
    isClosed: false,
  };
  requests.on('message', (bytes, from) => onRequest(server, bytes, from));
  transfers.on('message', (bytes, from) => onTransferPacket(server, bytes, from));
  return {
    port: requests.address().port,
    sessions: () => server.table.size,
    close: async () => {
      server.isClosed = true;
      server.table.clear();
      await Promise.all([closeSocket(requests), closeSocket(transfers)]);
    },
  };
}

async function openSocket(port: number, address: string | undefined, what: string): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BUFFER });
  const listening = once(socket, 'listening');
  socket.bind(port, address);
  try {
    await listening;
  } catch (error) {
    socket.close();
    throw bindError(error, what, port);
  }
  return socket;
}

function onRequest(server: Server, bytes: Buffer, from: RemoteInfo): void {
  const packet = decoded(server, bytes, from);
  if (packet?.kind === 'write') refuse(server, from, TFTP_ERROR.denied, 'nothing is written here');
  else if (packet?.kind === 'read' && packet.mode !== 'octet') refuse(server, from, TFTP_ERROR.illegal, 'only octet mode is served');
  else if (packet?.kind === 'read') answer(server, packet, from);
  else if (packet !== undefined) server.complain('not a request', { from: from.address, kind: packet.kind });
}

function answer(server: Server, packet: ReadRequest, from: RemoteInfo): void {
  open(server, packet, from).catch((error: unknown) => {
    server.complain('cannot read a boot file', { from: from.address, file: printable(packet.file), error: describeError(error).message });
    refuse(server, from, TFTP_ERROR.undefined, 'the file cannot be read now');
  });
}

async function open(server: Server, request: ReadRequest, from: RemoteInfo): Promise<void> {
  const key = `${from.address} ${from.port}`;
  const running = server.table.get(from.address, from.port);
  // The client repeats a request whose answer was lost or is under way: the timer repeats the answer.
  if (server.opening.has(key) || (running?.file === request.file && running.transfer.phase === 'offered')) return;
  if (server.opening.size >= MAX_OPENING) return server.complain('too many requests at once', { from: from.address });
  server.opening.add(key);
  try {
    const content = await server.files.read(request.file);
    if (server.isClosed) return;
    if (content === undefined) return refuse(server, from, TFTP_ERROR.notFound, 'no such file');
    begin(server, request, content, from);
  } finally {
    server.opening.delete(key);
  }
}

function begin(server: Server, request: ReadRequest, content: Uint8Array, from: RemoteInfo): void {
  const running = server.table.get(from.address, from.port);
  if (running !== undefined) server.table.remove(running);
  const terms = negotiate(request.options, content.length, server.mtuTowards(from.address));
  const session = server.table.add({
    address: from.address,
    port: from.port,
    file: request.file,
    startedAtMs: server.clock(),
    transfer: newTransfer(content, terms),
  });
  if (session === undefined) server.complain('no room for a transfer', { from: from.address, sessions: server.table.size });
  else advance(server, session, { kind: 'start' });
}

function onTransferPacket(server: Server, bytes: Buffer, from: RemoteInfo): void {
  const packet = decoded(server, bytes, from);
  if (packet === undefined) return;
  const session = server.table.get(from.address, from.port);
  if (session !== undefined) {
    advance(server, session, { kind: 'packet', packet });
    return;
  }
  // RFC 1350 §4: a stranger's packet gets error 5 and disturbs nobody. An error is never answered with an error.
  if (packet.kind !== 'error') refuse(server, from, TFTP_ERROR.unknownTransfer, 'unknown transfer', server.transfers);
}

function decoded(server: Server, bytes: Buffer, from: RemoteInfo): TftpPacket | undefined {
  if (from.port === 0) return undefined; // cannot be answered
  try {
    return decodePacket(bytes);
  } catch (error) {
    server.complain('bad packet', { from: from.address, error: describeError(error).message });
    return undefined;
  }
}

function advance(server: Server, session: Session, event: TransferEvent): void {
  const [transfer, actions] = step(session.transfer, event, server.clock());
  session.transfer = transfer;
  if (transfer.phase === 'flowing') server.table.settle(session);
  for (const action of actions) perform(server, session, action);
}

function perform(server: Server, session: Session, action: TransferAction): void {
  switch (action.kind) {
    case 'send':
      send(server, server.transfers, action.packet, session);
      return;
    case 'arm':
      clearTimeout(session.timer);
      session.timer = setTimeout(() => onTimer(server, session), action.afterMs);
      return;
    case 'end':
      finish(server, session, action.outcome, action.reason);
      return;
  }
}

/** After a pause of our own loop the answer may lie in the socket already: read that first, then judge. */
function onTimer(server: Server, session: Session): void {
  const { acked } = session.transfer;
  setImmediate(() => {
    if (server.table.get(session.address, session.port) === session && session.transfer.acked === acked) {
      advance(server, session, { kind: 'timeout' });
    }
  });
}

function finish(server: Server, session: Session, outcome: string, reason: string): void {
  server.table.remove(session);
  const { content, terms, repeats } = session.transfer;
  const facts = {
    from: session.address,
    file: printable(session.file),
    bytes: content.length,
    blksize: terms.blockSizeBytes,
    windowsize: terms.windowSize,
    ms: Math.round(server.clock() - session.startedAtMs),
    repeats,
  };
  if (outcome === 'done') server.log.info('tftp transfer', facts);
  else server.complain('transfer ended early', { ...facts, outcome, reason });
}

function refuse(server: Server, to: RemoteInfo, code: number, message: string, socket: Socket = server.requests): void {
  send(server, socket, encodeError(code, message), to);
}

function send(server: Server, socket: Socket, packet: Buffer, to: { readonly address: string; readonly port: number }): void {
  // A file that was being read when we closed: nobody waits for its answer, and a closed socket throws.
  if (server.isClosed) return;
  socket.send(packet, to.port, to.address, (error) => {
    if (error) server.complain('cannot send', { to: to.address, error: error.message });
  });
}
