import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { openClient, type ServerClient } from '../../agent/client.ts';
import { type AgentIdentity, makeIdentity } from '../../agent/identity.ts';
import { spkiDigest } from '../../core/pin.ts';
import { inventoryOf, MIB } from '../../test/agent/fixtures.ts';
import type { Size } from '../../test/helpers/scale/sizes.ts';
import { startServeProcess } from '../../test/helpers/serve-process.ts';

/** A filled site whose server runs as a process of its own, as its callers see it. */
export type RunningSite = {
  readonly size: Size;
  /** One call of the API by its unix socket, as the administrator of the machine. */
  api(method: 'GET' | 'POST', path: string, body?: object): Promise<Record<string, unknown>>;
  /** What a machine's firmware is told over plain HTTP. */
  script(query: Readonly<Record<string, string>>): Promise<string>;
  /** The agent of a machine that was given this boot id, with the same key each time: its hello is said. The caller closes. */
  agent(bootId: string, mac: string): Promise<ServerClient>;
  stop(): Promise<void>;
};

export async function runSite(dataDir: string, size: Size): Promise<RunningSite> {
  const server = await startServeProcess(dataDir);
  const lines = new Agent({ keepAlive: true });
  const pin = spkiDigest(new X509Certificate(await readFile(join(dataDir, 'keys', 'ca.pem'))).publicKey);
  const identities = new Map<string, AgentIdentity>();
  const socketPath = join(dataDir, 'run', 'api.sock');
  return {
    size,
    api: async (method, path, body) => JSON.parse(await ask({ agent: lines, socketPath, method, path }, body)) as Record<string, unknown>,
    script: (query) => ask({ agent: lines, ...placeOf(server.httpUrl), method: 'GET', path: `/boot/script?${new URLSearchParams(query)}` }),
    agent: async (bootId, mac) => {
      const identity = identities.get(mac) ?? (await makeIdentity());
      identities.set(mac, identity);
      const client = openClient(`https://127.0.0.1:${server.httpsPort}`, pin, identity);
      const nics = [{ name: 'eth0', mac }];
      await client.hello({ protocol: 1, bootId, agentVersion: 'bench', inventory: inventoryOf({ sizeBytes: 64 * MIB }, { nics }) });
      return client;
    },
    stop: async () => {
      lines.destroy();
      await server.stop();
    },
  };
}

function placeOf(url: string): { host: string; port: number } {
  return { host: '127.0.0.1', port: Number(new URL(url).port) };
}

async function ask(options: Parameters<typeof request>[1] & object, body?: object): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  const sent = request({ ...options, headers });
  sent.once('error', reject);
  sent.once('response', async (answer) => {
    const octets = Buffer.concat(await answer.toArray()).toString('utf8');
    if (answer.statusCode === 200) resolve(octets);
    else reject(new Error(`${JSON.stringify(options.path)} was answered ${answer.statusCode}: ${octets.slice(0, 500)}`));
  });
  sent.end(text);
  return promise;
}
