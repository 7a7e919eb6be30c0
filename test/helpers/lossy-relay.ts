import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { randomFrom } from './seeded.ts';

export type Weather = { readonly loss: number; readonly duplicates: number; readonly seed: number };

export type Relay = {
  readonly port: number;
  /** Datagrams that went through, were lost, were doubled. */
  readonly counts: { passed: number; lost: number; doubled: number };
  close(): Promise<void>;
};

/** What one client sees of the server: `up` talks to the server, `down` to the client, and is the TID it knows. */
type Path = { readonly up: Socket; readonly down: Socket };

/**
 * A TFTP server seen through a bad network: datagrams of both ways are lost and doubled by a seeded die. Kernels without
 * sch_netem have no other way. The request goes to `port`; each client is answered from a port of its own, as TFTP does.
 */
export async function startLossyRelay(serverPort: number, weather: Weather): Promise<Relay> {
  const random = randomFrom(weather.seed);
  const counts = { passed: 0, lost: 0, doubled: 0 };
  const paths = new Map<string, Promise<Path>>();
  const front = await open();
  const send = (socket: Socket, bytes: Buffer, port: number) => {
    if (random() < weather.loss) {
      counts.lost += 1;
      return;
    }
    const times = random() < weather.duplicates ? 2 : 1;
    counts.passed += 1;
    counts.doubled += times - 1;
    for (let n = 0; n < times; n += 1) socket.send(bytes, port, '127.0.0.1');
  };
  const openPath = async (clientPort: number): Promise<Path> => {
    const path = { up: await open(), down: await open() };
    let tid = serverPort;
    path.up.on('message', (bytes, from) => {
      tid = from.port;
      send(path.down, bytes, clientPort);
    });
    path.down.on('message', (bytes) => send(path.up, bytes, tid));
    return path;
  };
  front.on('message', async (bytes, from) => {
    const key = String(from.port);
    const path = paths.get(key) ?? openPath(from.port);
    paths.set(key, path);
    send((await path).up, bytes, serverPort);
  });
  return {
    port: front.address().port,
    counts,
    close: async () => {
      front.close();
      for (const path of await Promise.all(paths.values())) {
        path.up.close();
        path.down.close();
      }
    },
  };
}

async function open(): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  // A test that fails before it closes the relay must still end.
  socket.unref();
  return socket;
}
