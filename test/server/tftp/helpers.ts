import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { Logger } from 'winston';
import { startTftp, type TftpOptions, type TftpServer } from '../../../server/tftp/listener.ts';
import { decodePacket, encodeRequest, type TftpPacket } from '../../../server/tftp/packet.ts';

export const QUIET = { info: () => undefined, warn: () => undefined, debug: () => undefined } as unknown as Logger;

/** A server on a free port of loopback with these files. */
export function serveFiles(files: Readonly<Record<string, Uint8Array>>, options: Partial<TftpOptions> = {}): Promise<TftpServer> {
  return startTftp({
    port: 0,
    address: '127.0.0.1',
    files: { read: async (name) => files[name] },
    log: QUIET,
    mtuTowards: () => 65_536,
    ...options,
  });
}

export type Client = {
  readonly socket: Socket;
  send(packet: Buffer, port: number): void;
  /** The next packet that comes, with the port it came from. Rejects after `timeoutMs`. */
  next(timeoutMs?: number): Promise<{ readonly packet: TftpPacket; readonly port: number; readonly bytes: number }>;
  /** How many packets came and were not taken. */
  waiting(): number;
  close(): void;
};

export async function openClient(): Promise<Client> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  // A test that fails before it closes its client must still end.
  socket.unref();
  const queue: { packet: TftpPacket; port: number; bytes: number }[] = [];
  let wake: () => void = () => undefined;
  socket.on('message', (bytes, from) => {
    queue.push({ packet: decodePacket(bytes), port: from.port, bytes: bytes.length });
    wake();
  });
  return {
    socket,
    send: (packet, port) => socket.send(packet, port, '127.0.0.1'),
    waiting: () => queue.length,
    close: () => socket.close(),
    next: async (timeoutMs = 3_000) => {
      const late = AbortSignal.timeout(timeoutMs);
      while (queue.length === 0) {
        if (late.aborted) throw new Error(`no packet in ${timeoutMs} ms`);
        await new Promise<void>((resolve) => {
          wake = resolve;
          late.addEventListener('abort', () => resolve(), { once: true });
        });
      }
      return queue.shift() as { packet: TftpPacket; port: number; bytes: number };
    },
  };
}

export function read(file: string, options: Readonly<Record<string, string>> = {}, mode = 'octet'): Buffer {
  return encodeRequest({ kind: 'read', file, mode, options: new Map(Object.entries(options)) });
}
