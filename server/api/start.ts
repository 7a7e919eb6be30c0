import type { Server as HttpServer, RequestListener } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Site } from '../site.ts';
import type { CertifiedKey } from '../trust/certificates.ts';
import { type Answered, createApp, type Frame } from './app.ts';
import { watchConnections } from './connections.ts';
import type { FindAgent, ListenerKind } from './identity.ts';
import { closeListener, createPlainListener, createTlsListener, listenOnPort, listenOnSocket, swapLeaf } from './listeners.ts';
import { createMetrics } from './metrics.ts';
import { allRoutes, UPGRADES } from './routes/index.ts';
import { upgradeListener } from './upgrade.ts';

export type Listeners = {
  /** The site with the ports that the listeners really have in its configuration, for everybody who tells them to others. */
  readonly site: Site;
  swapLeaf(leaf: CertifiedKey): void;
  close(): Promise<void>;
};

export type ListenerOptions = { readonly findAgent: FindAgent; readonly socketPath: string; readonly graceMs: number };

/** Opens the plain port, the TLS port and the unix socket. What was opened is closed again when one of them fails. */
export async function startListeners(site: Site, options: ListenerOptions): Promise<Listeners> {
  const handlers = deferredHandlers();
  const plain = createPlainListener(handlers.of('boot'));
  const tls = createTlsListener(site.keys.leaf(), handlers.of('api'));
  const local = createPlainListener(handlers.of('local'));
  const servers: (HttpServer | HttpsServer)[] = [plain, tls, local];
  const close = async () => {
    await Promise.all(servers.filter((server) => server.listening).map((server) => closeListener(server, options.graceMs)));
  };
  try {
    const httpPort = await listenOnPort(plain, site.config.httpPort, 'httpPort');
    const httpsPort = await listenOnPort(tls, site.config.httpsPort, 'httpsPort');
    await listenOnSocket(local, options.socketPath);
    const bound: Site = { ...site, config: { ...site.config, httpPort, httpsPort } };
    const frame = makeFrames(bound, options.findAgent);
    const routes = allRoutes(frame.metrics);
    handlers.open((kind) => createApp(frame.of(kind), routes));
    tls.on('upgrade', upgradeListener(frame.of('api'), UPGRADES));
    return { site: bound, swapLeaf: (leaf) => swapLeaf(tls, leaf), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function makeFrames(site: Site, findAgent: FindAgent) {
  const metrics = createMetrics();
  const onServer = watchConnections(site);
  const onAnswer = (answer: Answered) => {
    metrics.count(answer);
    site.log.log(levelOf(answer), 'request', { ...answer, path: answer.path.slice(0, 200) });
  };
  const of = (listener: ListenerKind): Frame => ({ site, listener, findAgent, onServer, onAnswer });
  return { metrics, of };
}

/** What operators change is worth a line; reading, and the many calls of agents and children, only when somebody looks closer. */
function levelOf({ status, method, actor }: Answered): 'warn' | 'info' | 'debug' {
  if (status >= 500) return 'warn';
  return method === 'GET' || method === 'HEAD' || /^(agent|server):/.test(actor) ? 'debug' : 'info';
}

/** Handlers for servers that must listen before the ports are known that the routes tell: early requests wait. */
function deferredHandlers() {
  let open: (make: (kind: ListenerKind) => RequestListener) => void = () => undefined;
  const ready = new Promise<(kind: ListenerKind) => RequestListener>((resolve) => {
    open = resolve;
  });
  const made = new Map<ListenerKind, RequestListener>();
  const of =
    (kind: ListenerKind): RequestListener =>
    async (request, response) => {
      const make = await ready;
      const handler = made.get(kind) ?? make(kind);
      made.set(kind, handler);
      handler(request, response);
    };
  return { of, open };
}
