import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { openClient } from '../../agent/client.ts';
import { makeIdentity } from '../../agent/identity.ts';
import type { Machine } from '../../agent/machine.ts';
import { createPatience } from '../../agent/patience.ts';
import type { ContentStore } from '../../core/content-store.ts';
import { type Digest, type Id, parseMac } from '../../core/ids.ts';
import type { ConfigFlags } from '../../server/config.ts';
import { importImage } from '../../server/images/import.ts';
import { initialise } from '../../server/initialise.ts';
import { openSite } from '../../server/open-site.ts';
import { createOrder, getOrder } from '../../server/orders/orders.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import { addTarget, createBoot } from '../../server/targets.ts';
import { type Afterwards, endInReverse } from '../helpers/end-in-reverse.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

export type TestServer = {
  readonly site: Site;
  readonly serving: Serving;
  readonly folder: string;
  readonly pin: Digest;
  /** The next moments of the server's clock, in ms from the real one. */
  readonly clock: { offsetMs: number };
};

/** A real server: data directory, database, store, TLS. `patchStore` makes it one that lies. */
export async function startServer(
  t: TestContext,
  options: { flags?: ConfigFlags; patchStore?: (store: ContentStore) => Partial<ContentStore> } = {},
): Promise<TestServer> {
  const folder = await temporaryDirectory('agent');
  const dataDir = join(folder, 'data');
  const flags = { httpPort: 0, httpsPort: 0, tftpPort: 0, ...options.flags };
  const made = await initialise({ dataDir, flags, env: {} });
  const clock = { offsetMs: 0 };
  const opened = await openSite({ dataDir, env: {}, now: () => Date.now() + clock.offsetMs });
  endInReverse(t, opened.close);
  const site: Site = { ...opened, store: patched(opened.store, options.patchStore) };
  const serving = await startServe(site);
  endInReverse(t, serving.close);
  return { site, serving, folder, pin: made.fingerprint, clock };
}

function patched(store: ContentStore, patch: ((store: ContentStore) => Partial<ContentStore>) | undefined): ContentStore {
  const changes = patch?.(store) ?? {};
  return new Proxy(store, {
    get: (target, key) => {
      const value: unknown = Reflect.get(changes, key) ?? Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Imports an image of these octets and says where its file is. */
export async function importDisk(server: TestServer, image: Buffer, name = 'demo'): Promise<string> {
  const path = join(server.folder, `${name}.raw`);
  await writeFile(path, image);
  await importImage(server.site, { path, name, actor: 'test' });
  return path;
}

/** A known machine that was given a boot script. */
export async function bootTarget(server: TestServer, name = 'box'): Promise<{ targetId: Id; bootId: Id }> {
  const target = await addTarget(server.site, { name: name as never, macs: [parseMac('52:54:00:00:00:01')] }, 'test');
  return { targetId: target.id, bootId: await createBoot(server.site, target.id, 'engine') };
}

/** What `runAgent` needs, with a new key and short waits. */
export async function agentWorld(t: Afterwards, server: TestServer, boot: { bootId: Id }, machine: Machine) {
  const identity = await makeIdentity();
  const client = openClient(server.serving.httpsUrl, server.pin, identity);
  const stop = new AbortController();
  endInReverse(t, () => {
    stop.abort();
    client.close();
  });
  const lines: string[] = [];
  const say = (line: string) => void lines.push(line);
  const patience = createPatience(5, 50);
  return { client, identity, machine, patience, bootId: boot.bootId, agentVersion: 'test', say, lines, stop, signal: stop.signal };
}

export function untilState(server: TestServer, orderId: string, ...states: string[]) {
  return waitUntil(`order is ${states.join(' or ')}`, async () => {
    const order = await getOrder(server.site, orderId);
    return states.includes(order.state) ? order : undefined;
  });
}

export function orderDemo(server: TestServer, targetRef = 'box') {
  return createOrder(server.site, { targetRef, imageRef: 'demo', actor: 'test' });
}
