import type { Deputy } from '../../core/deputy.ts';
import { SignedTakeover, type TakeoverEnrolment } from '../../core/deputy.ts';
import { digestOf } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest, Id } from '../../core/ids.ts';
import { EnrolAnswer, SYNC_PROTOCOL } from '../../core/sync-protocol.ts';
import { listLinks } from '../db/links.ts';
import { inTransaction } from '../db/open.ts';
import { contactOf } from '../panel/contact.ts';
import { requestBytes } from '../shared/enrolment.ts';
import type { Site } from '../site.ts';
import { createRequest } from '../trust/certificates.ts';
import { becomeChild, checkAnswer } from '../trust/join.ts';
import { pinnedJson } from '../trust/pinned-request.ts';
import { type PinnedAgent, pinnedAgent } from '../trust/pinned-tls.ts';
import { deputyOf } from './deputy.ts';
import { believeTakeover, verifyTakeover } from './takeover.ts';

/**
 * A child whose parent does not answer (any more) asks the deputy that this parent has named whether it has taken over, and becomes its
 * child when that says so, signed. Nothing is done for a parent that answers, or has named nobody.
 */
export async function followDeputy(site: Site, signal: AbortSignal): Promise<void> {
  const [link] = await listLinks(site.db);
  if (link === undefined || !isAway(site, link.parentId)) return;
  const deputy = await deputyOf(site.db, link.parentId);
  if (!deputy || deputy.serverId === site.self.id) return;
  const agent = pinnedAgent({ pin: deputy.caPin as Digest, now: site.now });
  try {
    if (await believe(site, { agent, deputy, parentId: link.parentId }, signal))
      await enrol(site, { agent, deputy, parentId: link.parentId }, signal);
  } catch (error) {
    // Where nobody has taken over there is nothing to follow; who is away is asked again.
    if (!(error instanceof AppError) || !['not_found', 'unreachable'].includes(error.code)) throw error;
    site.log.debug('the deputy of our parent has not taken over', { deputy: deputy.name, code: error.code });
  } finally {
    agent.destroy();
  }
}

/** It says itself that its place was taken, or it has not answered for a while. */
function isAway(site: Site, parentId: Id): boolean {
  const failure = contactOf(site, parentId, 'parent')?.failure ?? null;
  if (failure === null) return false;
  return failure.code === 'fenced' || site.now() - failure.since >= site.config.deputyAfterSeconds * 1000;
}

type Asked = { readonly agent: PinnedAgent; readonly deputy: Deputy; readonly parentId: Id };

async function believe(site: Site, { agent, deputy, parentId }: Asked, signal: AbortSignal): Promise<boolean> {
  const answer = SignedTakeover.safeParse(await pinnedJson(agent, { url: `${deputy.url}/api/v1/takeovers/${parentId}`, signal }));
  if (!answer.success) throw new AppError('version_mismatch', `server ${deputy.name} answered something that is no takeover`);
  const { successor, body } = verifyTakeover(answer.data, deputy.caPin as Digest);
  if (successor !== deputy.serverId || body.predecessor !== parentId) return false;
  return inTransaction(site.db, (trx) => believeTakeover(site, trx, successor, body));
}

async function enrol(site: Site, { agent, deputy, parentId }: Asked, signal: AbortSignal): Promise<void> {
  const { keyPem, csrPem } = await createRequest(site.self.id);
  const request = { protocol: SYNC_PROTOCOL, serverId: site.self.id, name: site.self.name, csr: csrPem, signer: site.keys.signer };
  const signature = site.keys.sign(requestBytes({ wish: 0, parentId: deputy.serverId, request }));
  const asked: TakeoverEnrolment = { predecessor: parentId, request, signature };
  const answer = EnrolAnswer.parse(await pinnedJson(agent, { url: `${deputy.url}/api/v1/takeovers/enrol`, json: asked, signal }));
  const above = answer.ancestors === undefined ? undefined : digestOf(answer.ancestors);
  const caPin = deputy.caPin as Digest;
  if (answer.serverId !== deputy.serverId) throw new AppError('bad_signature', `another server than ${deputy.name} answered`);
  checkAnswer(answer, { caPin, signerKeyId: answer.signer.keyId as Digest, above }, keyPem);
  await becomeChild(site, { url: deputy.url, token: { caPin }, answer, keyPem }, 'system', [parentId]);
  site.log.warn('the parent is lost; its deputy is the parent now', { deputy: deputy.name });
}
