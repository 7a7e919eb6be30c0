import type { IncomingMessage } from 'node:http';
import type { Site } from '../site.ts';
import type { Identified, ListenerKind } from './identity.ts';
import { originOf, plainAddress } from './origin.ts';
import type { RouteContext } from './route.ts';

export type ContextSource = {
  readonly site: Site;
  readonly listener: ListenerKind;
  readonly identified: Identified;
  readonly params: Readonly<Record<string, unknown>>;
  readonly query: Readonly<Record<string, unknown>>;
  readonly signal: AbortSignal;
};

/** What a handler may know of a request. */
export function makeContext(request: IncomingMessage, source: ContextSource): RouteContext {
  const { site, listener, identified } = source;
  const scheme = listener === 'boot' ? 'http' : 'https';
  const port = listener === 'boot' ? site.config.httpPort : site.config.httpsPort;
  return {
    site,
    identity: identified.identity,
    params: textMembers(source.params),
    query: textMembers(source.query),
    headers: request.headers,
    remoteAddress: plainAddress(request.socket.remoteAddress ?? 'local'),
    origin: listener === 'local' ? `https://127.0.0.1:${port}` : originOf(request, scheme, `${scheme}://127.0.0.1:${port}`),
    clientKeyId: identified.clientKeyId,
    body: request,
    signal: source.signal,
  };
}

/** A name given twice counts with its last value; the segments of a wildcard are joined again. */
function textMembers(values: Readonly<Record<string, unknown>>): Record<string, string> {
  const members = Object.entries(values).map(([key, value]) => [key, Array.isArray(value) ? joinParts(key, value) : String(value)]);
  return Object.fromEntries(members);
}

function joinParts(key: string, parts: readonly unknown[]): string {
  return key === 'path' ? parts.join('/') : String(parts.at(-1) ?? '');
}
