import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { type Action, type AuthObject, authorise } from '../../core/authorise.ts';
import { AppError } from '../../core/errors.ts';
import { OUR_ABILITIES } from '../../core/negotiate.ts';
import { onceClosed } from '../../sync/tunnel/once-closed.ts';
import type { Frame } from './app.ts';
import { makeContext } from './context.ts';
import { type Problem, problem, problemOf, refusalProblem } from './errors.ts';
import { identify } from './identity.ts';
import type { RouteContext } from './route.ts';

/** One protocol that a client may switch to, HTTPS listener only (RFC 9110 §7.8). */
export type UpgradeRoute = {
  readonly path: string;
  /** What stands in the Upgrade header, `waystation-rsync`. */
  readonly protocol: string;
  readonly action: Action;
  readonly object?: (context: RouteContext) => AuthObject | Promise<AuthObject>;
  /** Looks at the request before the switch; throws AppError to answer a problem instead. */
  readonly check?: (context: RouteContext) => Promise<void>;
  /** Owns the socket from here on; `head` are octets that came with the request. `context.signal` aborts when it closes. */
  readonly handle: (context: RouteContext, socket: Duplex, head: Buffer) => Promise<void>;
};

/** Answers `upgrade` events with the same identity and the same authorise as every route. */
export function upgradeListener(frame: Frame, upgrades: readonly UpgradeRoute[]) {
  return (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // A client that resets the connection is no failure of ours; the handler sees the close.
    socket.on('error', (error) => frame.site.log.debug('upgraded connection broke', { error: error.message }));
    answer(frame, upgrades, request, socket, head).catch((error: unknown) =>
      sendProblem(request, socket, problemOf(error, frame.site.log)),
    );
  };
}

async function answer(
  frame: Frame,
  upgrades: readonly UpgradeRoute[],
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const url = URL.parse(request.url ?? '/', 'https://host.invalid');
  const upgrade = upgrades.find((candidate) => candidate.path === url?.pathname);
  const identified = await identify(request, frame);
  const { identity, refusal } = identified;
  const isAnonymous = identity.kind === 'anonymous';
  if (!upgrade || !url) {
    const unknown = problem(new AppError('not_found', 'there is nothing at this address'), 404);
    return sendProblem(request, socket, isAnonymous ? refusalProblem(refusal, true) : unknown);
  }
  if (identity.kind === 'server') frame.onServer?.(identity.serverId, request.socket);
  if (!authorise(identity, upgrade.action)) return sendProblem(request, socket, refusalProblem(refusal, isAnonymous));
  const context = makeContext(request, {
    ...frame,
    identified,
    params: {},
    query: Object.fromEntries(url.searchParams),
    signal: closeSignal(socket),
  });
  if (upgrade.object && !authorise(identity, upgrade.action, await upgrade.object(context))) {
    return sendProblem(request, socket, refusalProblem(refusal, isAnonymous));
  }
  await upgrade.check?.(context);
  if (request.headers.upgrade?.toLowerCase() !== upgrade.protocol) {
    throw new AppError('version_mismatch', `this address speaks ${upgrade.protocol} only`, { hint: 'update the older of the two servers' });
  }
  await switchProtocol(frame, upgrade, { context, socket, head });
}

type Switched = { readonly context: RouteContext; readonly socket: Duplex; readonly head: Buffer };

async function switchProtocol(frame: Frame, upgrade: UpgradeRoute, { context, socket, head }: Switched): Promise<void> {
  if (socket instanceof TLSSocket) socket.setTimeout(0);
  const abilities = `Waystation-Abilities: ${OUR_ABILITIES.join(' ')}`;
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${upgrade.protocol}\r\n${abilities}\r\n\r\n`);
  try {
    await upgrade.handle(context, socket, head);
  } catch (error) {
    // After the switch no status can be sent: the broken connection says it.
    problemOf(error, frame.site.log);
    socket.destroy();
  }
}

/** A whole HTTP answer on a socket that Node handed over with the upgrade event, then the end. */
function sendProblem(request: IncomingMessage, socket: Duplex, answer: Problem): void {
  const body = JSON.stringify(answer);
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket as TLSSocket);
  response.writeHead(answer.status, { 'content-type': 'application/problem+json', 'content-length': Buffer.byteLength(body) });
  response.end(body, () => socket.end());
}

function closeSignal(socket: Duplex): AbortSignal {
  const controller = new AbortController();
  onceClosed(socket, () => controller.abort());
  return controller.signal;
}
