import type { Json } from '../../core/canonical-json.ts';
import type { Answer, ControlRequest } from '../../core/control-protocol.ts';
import { AppError, errorFromPlain } from '../../core/errors.ts';
import { type Id, newId } from '../../core/ids.ts';
import { getServer } from '../db/servers.ts';
import type { Site } from '../site.ts';
import { controlTopic } from './dispatch.ts';
import type { ServerBelow } from './servers-below.ts';

type Waiting = {
  readonly request: ControlRequest;
  readonly via: Id;
  isDelivered: boolean;
  readonly settle: (answer: Answer) => void;
};

const ANSWER_WITHIN_MS = 30_000;
const MOST_WAITING = 50;

/** Questions that wait for an answer from below; they die with the server, and whoever asked asks again. */
const waiting = new WeakMap<Site['wake'], Map<string, Waiting>>();

function waitingOf(site: Pick<Site, 'wake'>): Map<string, Waiting> {
  const known = waiting.get(site.wake) ?? new Map<string, Waiting>();
  waiting.set(site.wake, known);
  return known;
}

/**
 * Asks a server below something by the poll that it, or the child before it, holds open. What it answers is for the caller to
 * check. Errors: `unreachable` without an answer in 30 s, and at once when only a shared database lies between, `busy`, the
 * error that it answered, and the reason of `signal` when that aborts.
 */
export async function askBelow(site: Site, to: ServerBelow, question: { kind: string; query: Json }, signal?: AbortSignal): Promise<Json> {
  if ((await getServer(site.db, to.via))?.relation !== 'child') throw unlinked(to);
  const all = waitingOf(site);
  if (all.size >= MOST_WAITING) throw new AppError('busy', 'too many questions to other servers wait for an answer', { hint: 'try again' });
  const request: ControlRequest = { id: newId(site.now()), dest: to.id, ...question };
  const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
  all.set(request.id, { request, via: to.via, isDelivered: false, settle: resolve });
  const giveUp = () => resolve(undefined);
  const timer = setTimeout(giveUp, ANSWER_WITHIN_MS);
  signal?.addEventListener('abort', giveUp);
  if (signal?.aborted) giveUp();
  site.wake.notify(controlTopic(to.via));
  try {
    const answer = await promise;
    signal?.throwIfAborted();
    if (answer === undefined) throw silent(to);
    if (answer.error !== undefined) throw errorFromPlain(answer.error);
    return answer.result ?? null;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', giveUp);
    all.delete(request.id);
  }
}

/** The questions for a child, or for servers behind it, that it was not given yet. */
export function takeRequests(site: Site, childId: Id): ControlRequest[] {
  const fresh = [...waitingOf(site).values()].filter(({ via, isDelivered }) => via === childId && !isDelivered);
  for (const one of fresh) one.isDelivered = true;
  return fresh.map(({ request }) => request);
}

/** A child's answer. One that nobody waits for, or that was asked of another, is dropped. */
export function takeAnswer(site: Site, childId: Id, answer: Answer): void {
  const one = waitingOf(site).get(answer.id);
  if (one?.via === childId) one.settle(answer);
}

/** The queue of a shared database carries commands, which wait; nobody waits there for a question. */
function unlinked({ name }: ServerBelow): AppError {
  return new AppError('unreachable', `no link leads from here to server ${name}: it is met in the shared database only`, {
    hint: 'ask there, or at the server above it: waystation server list',
  });
}

function silent({ name }: ServerBelow): AppError {
  return new AppError('unreachable', `server ${name} did not answer within ${ANSWER_WITHIN_MS / 1000} s`, {
    hint: 'see when it was last heard of: waystation server list',
  });
}
