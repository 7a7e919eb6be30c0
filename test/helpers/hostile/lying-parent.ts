import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Digest } from '../../../core/ids.ts';
import type { ArchivePlan, ArchiveRequest, Catalogue } from '../../../core/sync-protocol.ts';
import { createTlsListener } from '../../../server/api/listeners.ts';
import { answerCatalogue } from '../../../server/catalogue.ts';
import type { Site } from '../../../server/site.ts';
import { startDaemon } from '../../../sync/tunnel/rsync-process.ts';
import { runTunnel } from '../../../sync/tunnel/tunnel.ts';

/** What this parent does otherwise than an honest one. What is not named here it does honestly. */
export type Lies = {
  /** Answers any request itself; true when it did. */
  readonly answer?: (request: IncomingMessage, response: ServerResponse) => boolean;
  readonly catalogue?: (honest: Catalogue) => unknown;
  readonly plan?: (honest: ArchivePlan) => unknown;
  /** Changes the directory of parts that a real rsync daemon then serves. */
  readonly parts?: (directory: string, plan: ArchivePlan) => Promise<void>;
  /** Refuses the upgrade, or switches to another protocol than the one asked for. */
  readonly refuse?: { readonly status: number; readonly code: string };
  readonly switchTo?: string;
  /** Speaks on the upgraded connection instead of a tunnel. */
  readonly tunnel?: (socket: Duplex) => void | Promise<void>;
  /** Joins the tunnel's inner streams with something else than an rsync daemon. */
  readonly endpoint?: (directory: string, plan: ArchivePlan) => Endpoint | Promise<Endpoint>;
};

export type Endpoint = Pick<ReturnType<typeof startDaemon>, 'input' | 'output' | 'kill'>;

export type LyingParent = {
  readonly url: string;
  /** Paths that were asked for, oldest first. */
  readonly asked: string[];
  tell(lies: Lies): void;
  close(): Promise<void>;
};

const HONEST: Lies = {};

/** A server that has the true parent's keys, certificate and content, speaks real TLS, and lies as it is told. */
export async function startLyingParent(hq: Site): Promise<LyingParent> {
  const asked: string[] = [];
  const open = new Set<Duplex>();
  const root = await mkdtemp(join(tmpdir(), 'waystation-lying-'));
  let lies = HONEST;
  let plan: ArchivePlan | undefined;
  const server = createTlsListener(hq.keys.leaf(), (request, response) => {
    asked.push(request.url ?? '');
    if (lies.answer?.(request, response)) return;
    answer(hq, lies, request)
      .then((document) => {
        if (request.url?.includes('/archives')) plan = document.honest as ArchivePlan;
        sendJson(response, document.told);
      })
      .catch((error: Error) => sendJson(response, { code: 'failed', detail: error.stack }, 500));
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    asked.push(request.url ?? '');
    socket.on('error', () => undefined);
    // An upgraded connection is no longer the server's to close.
    open.add(socket);
    if (lies.refuse) return refuse(socket, lies.refuse);
    const protocol = lies.switchTo ?? 'waystation-rsync';
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`);
    if (lies.tunnel) return void lies.tunnel(socket);
    serve(hq, lies, { root, plan, socket, head }).catch(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    tell: (told) => {
      lies = told;
      asked.length = 0;
    },
    close: async () => {
      for (const socket of open) socket.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(root, { recursive: true, force: true });
    },
  };
}

export function sendJson(response: ServerResponse, document: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(typeof document === 'string' ? document : JSON.stringify(document));
}

function refuse(socket: Duplex, { status, code }: { status: number; code: string }): void {
  const body = JSON.stringify({ status, code, detail: 'refused' });
  socket.end(`HTTP/1.1 ${status} No\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
}

async function answer(hq: Site, lies: Lies, request: IncomingMessage): Promise<{ honest: unknown; told: unknown }> {
  const url = new URL(request.url ?? '/', 'https://host.invalid');
  const number = (name: string) => Number(url.searchParams.get(name) ?? 0);
  if (url.pathname.endsWith('/catalogue')) {
    const honest = await answerCatalogue(hq, { protocol: 1, epoch: number('epoch'), since: number('since') });
    return { honest, told: lies.catalogue === undefined ? honest : await lies.catalogue(honest) };
  }
  const asked = JSON.parse(await readBody(request)) as ArchiveRequest;
  const honest = await planFor(hq, asked);
  return { honest, told: lies.plan === undefined ? honest : lies.plan(honest) };
}

async function planFor(hq: Site, { have, want }: ArchiveRequest): Promise<ArchivePlan> {
  const { key, parts } = await hq.store.buildArchive({ have: have as Digest[], want: want as Digest[] });
  const totalBytes = parts.reduce((sum, part) => sum + part.sizeBytes, 0);
  return { key, state: 'ready', doneBytes: totalBytes, totalBytes, parts: [...parts] };
}

type Tunnel = { readonly root: string; readonly plan: ArchivePlan | undefined; readonly socket: Duplex; readonly head: Buffer };

async function serve(hq: Site, lies: Lies, { root, plan, socket, head }: Tunnel): Promise<void> {
  if (plan === undefined) throw new Error('no plan was made');
  const base = await mkdtemp(join(root, 'parts-'));
  const directory = join(base, 'parts');
  await mkdir(directory, { mode: 0o755 });
  await copyParts(hq, plan, directory);
  await lies.parts?.(directory, plan);
  const endpoint = lies.endpoint === undefined ? await hostileDaemon(base, directory) : await lies.endpoint(directory, plan);
  try {
    await runTunnel({ link: socket, head, input: endpoint.output, output: endpoint.input });
  } finally {
    endpoint.kill();
  }
}

async function copyParts(hq: Site, plan: ArchivePlan, directory: string): Promise<void> {
  const source = join(hq.dataDir, 'store', 'archives', plan.key);
  for (const { name } of plan.parts) await cp(join(source, name), join(directory, name));
}

/** A real rsync daemon without any of the manners of ours: no chroot, no munged links, nothing refused. */
async function hostileDaemon(base: string, directory: string): Promise<Endpoint> {
  const config = join(base, 'rsyncd.conf');
  const lines = ['log file = /dev/null', 'use chroot = no', 'munge symlinks = no', 'uid = 0', 'gid = 0', '[parts]', `path = ${directory}`];
  await writeFile(config, `${lines.join('\n')}\n`, { mode: 0o600 });
  return startDaemon(config);
}

async function readBody(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}
