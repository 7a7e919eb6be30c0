import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import * as nbd from './nbd-codec.ts';
import type { VolatileDisk } from './volatile-disk.ts';

const EINVAL = 22;

/** Serves a disk to QEMU (`nbd+unix:///?socket=PATH`). A disk without power answers nothing. */
export async function serveDisk(disk: VolatileDisk, socketPath: string): Promise<{ close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    // A machine that is killed resets its connection: that is what happens here, not a failure.
    socket.on('error', () => undefined);
    serveConnection(disk, socket).catch(() => socket.destroy());
  });
  server.listen(socketPath);
  await once(server, 'listening');
  return {
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

type Take = (bytes: number) => Promise<Buffer>;

async function serveConnection(disk: VolatileDisk, socket: Socket): Promise<void> {
  const take = takeFrom(socket);
  socket.write(nbd.encodeGreeting());
  await take(nbd.CLIENT_FLAGS_BYTES);
  if (!(await agreeOnExport(disk, socket, take))) return;
  for (;;) {
    const request = nbd.decodeRequest(await take(nbd.REQUEST_HEADER_BYTES));
    const data = request.command === nbd.COMMAND.write ? await take(request.length) : Buffer.alloc(0);
    if (request.command === nbd.COMMAND.disconnect) return void socket.end();
    if (disk.hasPower) socket.write(perform(disk, request, data));
  }
}

/** False when the client leaves without having chosen one. */
async function agreeOnExport(disk: VolatileDisk, socket: Socket, take: Take): Promise<boolean> {
  for (;;) {
    const { option, length } = nbd.decodeOption(await take(nbd.OPTION_HEADER_BYTES));
    await take(length);
    if (option === nbd.OPTION.exportName) {
      socket.write(nbd.encodeExport(disk.sizeBytes));
      return true;
    }
    if (option === nbd.OPTION.go || option === nbd.OPTION.info) {
      socket.write(nbd.encodeOptionReply(option, nbd.OPTION_REPLY.info, nbd.encodeExportInfo(disk.sizeBytes)));
      socket.write(nbd.encodeOptionReply(option, nbd.OPTION_REPLY.acknowledged));
      if (option === nbd.OPTION.go) return true;
    } else {
      const answer = option === nbd.OPTION.abort ? nbd.OPTION_REPLY.acknowledged : nbd.OPTION_REPLY.unsupported;
      socket.write(nbd.encodeOptionReply(option, answer));
      if (option === nbd.OPTION.abort) return false;
    }
  }
}

function perform(disk: VolatileDisk, { command, flags, handle, offset, length }: nbd.Request, data: Buffer): Buffer {
  if (command === nbd.COMMAND.read) return nbd.encodeReply(handle, 0, disk.read(offset, length));
  if (command === nbd.COMMAND.write) {
    disk.write(offset, data);
    // The whole cache goes with it: a disk may always write more than it was told to.
    if (flags & nbd.FORCE_UNIT_ACCESS) disk.flush();
    return nbd.encodeReply(handle, 0);
  }
  if (command !== nbd.COMMAND.flush) return nbd.encodeReply(handle, EINVAL);
  disk.flush();
  return nbd.encodeReply(handle, 0);
}

/** Exact numbers of octets from a socket, one after the other; rejects when it ends in between. */
function takeFrom(socket: Socket): Take {
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let kept: Buffer = Buffer.alloc(0);
  return async (bytes) => {
    const parts = [kept];
    let length = kept.length;
    while (length < bytes) {
      const { value, done } = await chunks.next();
      if (done) throw new Error('nbd: the client is gone');
      parts.push(value);
      length += value.length;
    }
    const all = parts.length === 1 ? kept : Buffer.concat(parts);
    kept = all.subarray(bytes);
    return all.subarray(0, bytes);
  };
}
