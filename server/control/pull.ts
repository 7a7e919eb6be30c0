import type { Json } from '../../core/canonical-json.ts';
import { type Answer, CONTROL_PROTOCOL, type ControlRequest, Pulled } from '../../core/control-protocol.ts';
import { AppError, describeError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { getControlMark } from '../db/control-queue.ts';
import { reachOf } from '../db/origins.ts';
import { noteParentPause, parentPauseOf } from '../schedule/parent-pause.ts';
import type { Site } from '../site.ts';
import { applyCommand } from './apply.ts';
import { askBelow } from './ask.ts';
import { addVouchers, answerArchive, answerObject, answerTunnel, passTunnel } from './offers/answer.ts';
import { OWN_ANSWERS } from './own-answers.ts';
import type { ParentChannel } from './parent-channel.ts';
import { serverName } from './servers-below.ts';

/**
 * One long poll: waits for what the parent wants, and does it. The next poll's number says what is done. Gives the epoch in which
 * the parent is, when it tells.
 */
export async function pullOnce(site: Site, channel: ParentChannel, parentId: Id, signal: AbortSignal): Promise<number | undefined> {
  const after = await getControlMark(site.db, parentId, 'applied');
  // Until it has said something: not paused. One that does not know the question leaves it alone.
  const paused = parentPauseOf(site, parentId)?.isPaused ?? false;
  const query = { protocol: String(CONTROL_PROTOCOL), after: String(after), paused: String(paused) };
  const pulled = Pulled.safeParse(await channel.get('pull', query, signal));
  if (!pulled.success)
    throw new AppError('version_mismatch', "the parent's commands are not ones that we can read", {
      hint: 'upgrade the older of the two servers',
    });
  for (const request of pulled.data.requests) void answer(site, { channel, parentId, request }, signal);
  for (const command of pulled.data.commands) await applyCommand(site, parentId, command);
  if (pulled.data.paused !== undefined) noteParentPause(site, parentId, pulled.data.paused);
  return pulled.data.epoch;
}

type Asked = { readonly channel: ParentChannel; readonly parentId: Id; readonly request: ControlRequest };

/** Commands need not wait for it; an answer that does not get through is asked for again by whoever wants it. */
async function answer(site: Site, asked: Asked, signal: AbortSignal): Promise<void> {
  const { channel, request } = asked;
  const made: Answer = { protocol: CONTROL_PROTOCOL, id: request.id, ...(await resultOf(site, asked)) };
  try {
    await channel.post('answers', made, signal);
  } catch (error) {
    site.log.warn('an answer did not get through', { kind: request.kind, error: describeError(error).message });
  }
}

async function resultOf(site: Site, { channel, parentId, request }: Asked): Promise<Pick<Answer, 'result' | 'error'>> {
  try {
    if (request.dest !== site.self.id) return { result: await passOn(site, channel, request) };
    const own = OWN_ANSWERS[request.kind];
    if (own !== undefined) return { result: await own(site, request.query) };
    if (request.kind === 'offer.object') return { result: await answerObject(site, request.query) };
    if (request.kind === 'offer.archive') return { result: await answerArchive(site, request.query, parentId) };
    if (request.kind === 'offer.tunnel') return { result: await answerTunnel(site, channel, request.query) };
    throw new AppError('version_mismatch', `this server does not know the question "${request.kind}"`, { hint: 'upgrade it' });
  } catch (error) {
    return { error: describeError(error) };
  }
}

async function passOn(site: Site, channel: ParentChannel, { dest, kind, query }: ControlRequest): Promise<Json> {
  const id = dest as Id;
  const via = await reachOf(site.db, id);
  if (!via) throw new AppError('not_found', `server ${dest} is not known to server ${site.self.name}`);
  const below = { id, via, name: await serverName(site.db, id) };
  if (kind === 'offer.tunnel') return passTunnel(site, channel, below, query);
  const answer = await askBelow(site, below, { kind, query });
  return kind === 'offer.object' ? addVouchers(site, answer) : answer;
}
