import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket, connect as tcpConnect } from 'node:net';

export type CuttingProxy = {
  readonly port: number;
  /**
   * Cuts the connection on which these words go to the database next: `before` they arrive, or `after`, when they were
   * carried out and the answer is on its way; `mute`: it stays, and nothing comes over it any more. Once.
   */
  cutAt(words: string, when: 'before' | 'after' | 'mute'): void;
  /** Cuts one of the connections that there are, whatever is on its way; `random` gives a number in [0, 1). */
  cutAny(random: () => number): void;
  /** How often it cut. */
  readonly cuts: () => number;
  close(): Promise<void>;
};

/** A way to a database that breaks at a chosen statement. The protocol is plain text as far as words go. */
export async function startCuttingProxy(port: number): Promise<CuttingProxy> {
  let wish: { words: string; when: 'before' | 'after' | 'mute' } | undefined;
  let cuts = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const database = tcpConnect(port, '127.0.0.1');
    for (const socket of [client, database]) {
      sockets.add(socket);
      // A broken connection is what this is for.
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        database.destroy();
      });
    }
    let isCut = false;
    let isMute = false;
    client.on('data', (data) => {
      if (wish !== undefined && data.includes(wish.words)) {
        isCut = true;
        isMute = wish.when === 'mute';
        cuts += 1;
        const { when } = wish;
        wish = undefined;
        if (when === 'before') return client.destroy();
      }
      return database.write(data);
    });
    database.on('data', (data) => (isMute ? undefined : isCut ? client.destroy() : client.write(data)));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    cutAt: (words, when) => {
      wish = { words, when };
    },
    cutAny: (random) => {
      const socket = [...sockets][Math.floor(random() * sockets.size)];
      if (socket === undefined) return;
      cuts += 1;
      socket.destroy();
    },
    cuts: () => cuts,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
