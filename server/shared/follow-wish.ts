import type { Json } from '../../core/canonical-json.ts';
import { digestOf } from '../../core/envelope.ts';
import { describeError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { SYNC_PROTOCOL } from '../../core/sync-protocol.ts';
import { getPeer, type Peer } from '../db/peers.ts';
import { listServers } from '../db/servers.ts';
import { setEnrolment } from '../db/shared/servers.ts';
import type { Site } from '../site.ts';
import { createRequest } from '../trust/certificates.ts';
import { becomeChild, checkAnswer } from '../trust/join.ts';
import { leaveParents } from '../trust/leave.ts';
import { answerBytes, type Enrolment, readEnrolment, requestBytes, requireWritten } from './enrolment.ts';
import type { Shared } from './open.ts';
import type { Registered } from './registry.ts';

const WHAT = 'enrolling at the parent that is wished for this server';
/** How soon a parent that refused is asked again. */
const ASK_AGAIN_MS = 15_000;

/** The key of a request that is under way; it lives with the process, and the next one asks anew. */
export type Pending = { key: { readonly wish: number; readonly pem: string } | undefined; askAgainAt: number; said: string };

export function nothingPending(): Pending {
  return { key: undefined, askAgainAt: 0, said: '' };
}

/**
 * The child's side: brings the links of this server to what is wished in the database, in its own row as it was seen last. Without a wish nothing is touched, so a
 * server that joined its parent with a token stays there. What was replicated stays, whoever is the parent.
 */
export async function followWish(site: Site, shared: Shared, own: Registered | undefined, pending: Pending): Promise<void> {
  if (own === undefined || own.state !== 'active' || own.parentRevision === 0) return;
  if (!site.config.enrolThroughDatabase) return say(site, pending, 'this server takes its parents by token alone (enrolThroughDatabase)');
  const parents = (await listServers(site.db)).filter(({ relation }) => relation === 'parent').map(({ id }) => id);
  const enrolment = readEnrolment(own.enrol);
  const isCurrent = enrolment?.wish === own.parentRevision && enrolment.parentId === own.parentId;
  if (own.parentId === null) {
    await leaveParents(site, parents);
    if (!isCurrent || enrolment?.outcome !== 'left')
      await write(shared, own, { wish: own.parentRevision, parentId: null, outcome: 'left' });
    return;
  }
  if (isCurrent && enrolment.outcome === 'joined' && isOnly(parents, own.parentId)) return;
  if (!isCurrent && isOnly(parents, own.parentId) && site.keys.parentCredentials(own.parentId) !== undefined) {
    return write(shared, own, { wish: own.parentRevision, parentId: own.parentId, outcome: 'joined' });
  }
  await enrol(site, shared, { own, parents, pending, enrolment: isCurrent ? enrolment : undefined });
}

function isOnly(parents: readonly Id[], id: Id): boolean {
  return parents.length === 1 && parents[0] === id;
}

type Step = {
  readonly own: Registered;
  readonly parents: readonly Id[];
  readonly pending: Pending;
  readonly enrolment: Enrolment | undefined;
};

async function enrol(site: Site, shared: Shared, step: Step): Promise<void> {
  const { own, pending, enrolment } = step;
  const parent = await getPeer(site.db, own.parentId as Id);
  if (parent === undefined) return say(site, pending, 'the wished parent is not known yet');
  if (parent.url === null) return say(site, pending, `server ${parent.name} has not told its address`);
  if (enrolment?.refusal !== undefined) {
    say(site, pending, `server ${parent.name} refuses to be the parent: ${enrolment.refusal.message}`);
    if (performance.now() < pending.askAgainAt) return;
    return ask(site, shared, step);
  }
  if (enrolment?.request === undefined || pending.key?.wish !== own.parentRevision || enrolment.outcome !== undefined)
    return ask(site, shared, step);
  if (enrolment.answer === undefined) return;
  try {
    await take(site, { ...step, parent, keyPem: pending.key.pem, enrolment });
    pending.key = undefined;
    await write(shared, own, { wish: own.parentRevision, parentId: own.parentId, outcome: 'joined' });
  } catch (error) {
    say(site, pending, `the answer of server ${parent.name} is not taken: ${describeError(error).message}`);
    pending.key = undefined;
    if (performance.now() >= pending.askAgainAt) await ask(site, shared, step);
  }
}

async function ask(site: Site, shared: Shared, { own, pending }: Step): Promise<void> {
  const { keyPem, csrPem } = await createRequest(site.self.id);
  const request = { protocol: SYNC_PROTOCOL, serverId: site.self.id, name: site.self.name, csr: csrPem, signer: site.keys.signer };
  const asked = { wish: own.parentRevision, parentId: own.parentId, request };
  pending.askAgainAt = performance.now() + ASK_AGAIN_MS;
  pending.key = { wish: own.parentRevision, pem: keyPem };
  await write(shared, own, { ...asked, requestSignature: site.keys.sign(requestBytes(asked)) });
}

type Answered = Step & { readonly parent: Peer; readonly keyPem: string; readonly enrolment: Enrolment };

/** Everything is checked against the pin under which that server was first seen; the database vouches for nothing. */
async function take(site: Site, { parents, parent, keyPem, enrolment }: Answered): Promise<void> {
  const { answer } = enrolment;
  if (answer === undefined) return;
  const above = answer.ancestors === undefined ? {} : { above: digestOf(answer.ancestors) };
  checkAnswer(answer, { caPin: parent.caPin, signerKeyId: answer.signer.keyId as Peer['caPin'], above: undefined, ...above }, keyPem);
  requireWritten(answerBytes(enrolment), enrolment.answerSignature, answer.signer, 'the answer');
  const redeemed = { url: parent.url ?? '', token: { caPin: parent.caPin }, answer, keyPem };
  await becomeChild(
    site,
    redeemed,
    'system',
    parents.filter((id) => id !== parent.id),
  );
}

async function write(shared: Shared, { id, revision }: Registered, enrol: Enrolment): Promise<void> {
  await shared.write(WHAT, (trx) => setEnrolment(trx, id, { enrol: enrol as unknown as Json, revision }), 'repeat');
}

function say(site: Site, pending: Pending, words: string): void {
  if (pending.said !== words) site.log.warn('the wished parent is not joined yet', { words });
  pending.said = words;
}
