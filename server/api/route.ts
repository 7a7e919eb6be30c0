import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { ZodType, z } from 'zod';
import type { Action, AuthObject, Identity } from '../../core/authorise.ts';
import type { Site } from '../site.ts';

/** What a handler gets besides its checked input. */
export type RouteContext = {
  readonly site: Site;
  readonly identity: Identity;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingHttpHeaders;
  readonly remoteAddress: string;
  /** Scheme, host and port that the client used to reach us, `https://10.0.2.2:8443`. */
  readonly origin: string;
  /** SHA-256 of the SPKI of the client certificate, whoever issued it; undefined without one. */
  readonly clientKeyId: string | undefined;
  /** The octets of the request; for routes without `input`, which would have read them. */
  readonly body: Readable;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
};

/** A handler that answers something else than JSON 200. */
export class Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readable | string | Uint8Array | undefined;

  constructor(status: number, body?: Readable | string | Uint8Array, headers: Readonly<Record<string, string>> = {}) {
    this.status = status;
    this.headers = headers;
    this.body = body;
  }
}

/**
 * One entry of the API. `path` is relative to the listener (`/api/v1/orders/:id`). The frame parses the body
 * (or, for GET, the query) with `input`, asks `authorise(identity, action, object(context))`, and only then calls `handle`.
 */
export type Route<Input extends ZodType = ZodType> = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  /** `boot` routes are on the plain port, `api` routes on HTTPS and on DIR/run/api.sock. */
  readonly listener: 'boot' | 'api';
  readonly action: Action;
  readonly object?: (context: RouteContext) => AuthObject | Promise<AuthObject>;
  readonly summary: string;
  readonly input?: Input;
  readonly output?: ZodType;
  readonly handle: (context: RouteContext, input: z.infer<Input>) => Promise<unknown>;
};

/** Keeps the input's type while routes of all kinds stand in one list. */
export function route<Input extends ZodType>(definition: Route<Input>): Route {
  return definition as unknown as Route;
}
