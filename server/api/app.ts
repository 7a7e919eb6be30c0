import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import helmet from 'helmet';
import { authorise } from '../../core/authorise.ts';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { onceClosed } from '../../sync/tunnel/once-closed.ts';
import type { Site } from '../site.ts';
import { actorOf } from './actor.ts';
import { makeContext } from './context.ts';
import { type Problem, problem, problemOf, refusalProblem } from './errors.ts';
import { type FindAgent, type Identified, identify, type ListenerKind } from './identity.ts';
import { parseInput } from './input.ts';
import { keepOpenForServer } from './keep-open.ts';
import { sendProblem, sendResult } from './respond.ts';
import type { Route, RouteContext } from './route.ts';
import { failureThrottle, type Throttle } from './throttle.ts';

export type Frame = {
  readonly site: Site;
  readonly listener: ListenerKind;
  readonly findAgent: FindAgent;
  /** Called for every request or upgrade of another server, with the socket that its revocation must close. */
  readonly onServer?: (serverId: Id, socket: Request['socket']) => void;
  /** Wrong tokens from one address before they are answered with 429; see throttle.ts for the default. */
  readonly failuresPerMinute?: number;
  /** Called once per answered request. */
  readonly onAnswer?: (answer: Answered) => void;
};

export type Answered = {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly ms: number;
  readonly actor: string;
  /** Of what was refused or failed. */
  readonly code?: string;
};

const BODY_LIMIT_BYTES = 1_048_576;
/** A child's archive request may list 10,000 manifests it has and 100,000 chunks it wants, 75 bytes each. */
const SYNC_BODY_LIMIT_BYTES = 16 * 1_048_576;

/**
 * One listener's express application with the routes that belong on it. Every request goes the same way: who asks
 * (identity.ts), may they (core/authorise.ts), is the input sound (zod), and only then the handler.
 */
export function createApp(frame: Frame, routes: readonly Route[]): Express {
  const app = express();
  app.disable('x-powered-by').disable('etag').set('trust proxy', false).set('query parser', 'simple');
  app.use(helmet(helmetOptions(frame.listener)));
  app.use(logAnswers(frame));
  const throttle = failureThrottle(frame.failuresPerMinute);
  mountRoutes(app, frame, routes, throttle);
  app.use((request, response) => answerUnknown(frame, throttle, request, response));
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    tellProblem(response, problemOf(error, frame.site.log));
  });
  return app;
}

/** Mounts the routes of this frame's listener; `boot` routes on the plain port, `api` routes on HTTPS and on the unix socket. */
function mountRoutes(app: Express, frame: Frame, routes: readonly Route[], throttle: Throttle): void {
  const wanted = frame.listener === 'boot' ? 'boot' : 'api';
  for (const route of routes.filter((candidate) => candidate.listener === wanted)) {
    const json = express.json({ limit: route.action === 'sync.archive' ? SYNC_BODY_LIMIT_BYTES : BODY_LIMIT_BYTES });
    const method = route.method.toLowerCase() as 'get' | 'post' | 'put' | 'patch' | 'delete';
    app[method](route.path, async (request: Request, response: Response) => {
      try {
        await answer(frame, route, throttle, json, request, response);
      } catch (error) {
        if (isAborted(error)) response.destroy();
        else await answerFailure(frame, throttle, request, response, error);
      }
    });
  }
}

/** The log of the request has the code too: a status alone says not why. */
function tellProblem(response: Response, answer: Problem): void {
  response.locals['code'] = answer.code;
  sendProblem(response, answer);
}

type JsonParser = ReturnType<typeof express.json>;

async function answer(
  frame: Frame,
  route: Route,
  throttle: Throttle,
  json: JsonParser,
  request: Request,
  response: Response,
): Promise<void> {
  const identified = await identifyFor(frame, route, request);
  response.locals['actor'] = actorOf(identified.identity);
  // The role is asked before the object and the body, so that a stranger costs and learns nothing.
  if (!authorise(identified.identity, route.action)) return refuse(throttle, request, response, identified);
  const context = makeContext(request, {
    ...frame,
    identified,
    params: request.params,
    query: request.query,
    signal: abortSignal(response),
  });
  if (route.object && !authorise(identified.identity, route.action, await route.object(context))) {
    return refuse(throttle, request, response, identified);
  }
  const input = await readInput(route, json, request, response, context);
  await sendResult(response, await route.handle(context, input));
}

async function identifyFor(frame: Frame, route: Pick<Route, 'action'>, request: Request): Promise<Identified> {
  const identified = await identify(request, { ...frame, ignoreDates: route.action === 'sync.renew' });
  if (identified.identity.kind === 'server') {
    frame.onServer?.(identified.identity.serverId, request.socket);
    if (request.res !== undefined) keepOpenForServer(request.res);
  }
  return identified;
}

async function readInput(route: Route, json: JsonParser, request: Request, response: Response, context: RouteContext): Promise<unknown> {
  if (!route.input) return undefined;
  if (route.method === 'GET') return parseInput(route.input, context.query);
  await new Promise<void>((resolve, reject) => json(request, response, (error?: unknown) => (error ? reject(error) : resolve())));
  if (request.body === undefined && hasBody(request)) {
    throw new AppError('usage', 'the request body is not JSON', { hint: 'send content-type application/json' });
  }
  return parseInput(route.input, request.body ?? {});
}

async function refuse(throttle: Throttle, request: Request, response: Response, { refusal, identity }: Identified): Promise<void> {
  const send = () => tellProblem(response, refusalProblem(refusal, identity.kind === 'anonymous'));
  await slowDown(throttle, request, response, { error: refusal, send });
}

async function answerFailure(frame: Frame, throttle: Throttle, request: Request, response: Response, error: unknown): Promise<void> {
  await slowDown(throttle, request, response, { error, send: () => tellProblem(response, problemOf(error, frame.site.log)) });
}

/** Tokens are what can be guessed, wherever they are judged; a wrong certificate can be shown as often as one likes. */
async function slowDown(
  throttle: Throttle,
  request: Request,
  response: Response,
  { error, send }: { error: unknown; send: () => void },
): Promise<void> {
  const isWrongToken = error instanceof AppError && (error.code === 'token_wrong' || error.code === 'token_expired');
  if (isWrongToken && request.ip !== undefined) await throttle(request, response, send);
  else send();
}

/** Which paths exist is told to those only who may ask at all; on the plain port everything is public. */
async function answerUnknown(frame: Frame, throttle: Throttle, request: Request, response: Response): Promise<void> {
  const identified = await identify(request, frame);
  if (frame.listener !== 'boot' && identified.identity.kind === 'anonymous') return refuse(throttle, request, response, identified);
  tellProblem(response, problem(new AppError('not_found', 'there is nothing at this address'), 404));
}

function abortSignal(response: Response): AbortSignal {
  const controller = new AbortController();
  onceClosed(response, () => {
    if (!response.writableFinished) controller.abort();
  });
  return controller.signal;
}

function isAborted(error: unknown): boolean {
  const code = (error as { code?: string } | null)?.code;
  return code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'ABORT_ERR';
}

function hasBody(request: Request): boolean {
  return request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
}

function logAnswers(frame: Frame) {
  return (request: Request, response: Response, next: NextFunction) => {
    const started = performance.now();
    response.once('close', () => {
      const ms = Math.round(performance.now() - started);
      const actor = String(response.locals['actor'] ?? 'anonymous');
      const code: string | undefined = response.locals['code'];
      const why = code === undefined ? {} : { code };
      frame.onAnswer?.({ method: request.method, path: request.path, status: response.statusCode, ms, actor, ...why });
    });
    next();
  };
}

function helmetOptions(listener: ListenerKind): Parameters<typeof helmet>[0] {
  // Firmware reads the plain port: it needs no browser headers there, and HSTS must not be promised for a private name.
  return listener === 'boot'
    ? { contentSecurityPolicy: false, strictTransportSecurity: false }
    : {
        strictTransportSecurity: false,
        contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
      };
}
