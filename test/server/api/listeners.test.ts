import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createPlainListener, createTlsListener, listenOnPort } from '../../../server/api/listeners.ts';
import { createKeys } from '../../../server/trust/keys.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';
import { waitUntil } from '../../helpers/wait-until.ts';

const root = await temporaryDirectory('listeners');
const ESTABLISHED = '01';
/** proc(5), /proc/net/tcp: which timer of a socket runs. */
const KEEPALIVE = '02';

/** The timers of the connections that a server took on this port, as the kernel tells. */
async function timersAt(port: number): Promise<string[]> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const lines = (await readFile('/proc/net/tcp6', 'utf8')).split('\n').map((line) => line.trim().split(/\s+/));
  return lines
    .filter(([, local, , state]) => local?.endsWith(`:${hex}`) && state === ESTABLISHED)
    .map((line) => line[5]?.slice(0, 2) ?? '');
}

async function connected(t: TestContext, server: Server): Promise<Socket> {
  const port = await listenOnPort(server, 0, 'httpsPort');
  const socket = connect({ port, host: '127.0.0.1' });
  t.after(() => {
    socket.destroy();
    server.close();
  });
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

test('the kernel asks after whoever is connected and silent, on the plain port and on the other', async (t) => {
  const keys = await createKeys(join(root, 'keys'), '01980000-0000-7000-8000-000000000001' as never, Date.now());
  for (const server of [createPlainListener(() => undefined), createTlsListener(keys.leaf(), () => undefined)]) {
    await connected(t, server);
    const { port } = server.address() as AddressInfo;
    await waitUntil('the connection is watched', async () => (await timersAt(port)).join() === KEEPALIVE, {
      limitMs: 10_000,
      everyMs: 20,
      despiteErrors: true,
    });
  }
});
