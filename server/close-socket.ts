import type { Socket } from 'node:dgram';
import { once } from 'node:events';

/** Closes a datagram socket and waits until it is closed. May be called twice. */
export async function closeSocket(socket: Socket): Promise<void> {
  const closed = once(socket, 'close');
  try {
    socket.close();
  } catch {
    return; // closed before: close may be called twice
  }
  await closed;
}
