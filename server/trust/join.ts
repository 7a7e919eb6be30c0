import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Knex } from 'knex';
import type { z } from 'zod';
import { digestOf } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import { type Digest, type Id, type Name, parseId, printable } from '../../core/ids.ts';
import { spkiDigest } from '../../core/pin.ts';
import { EnrolAnswer, type EnrolRequest, SYNC_PROTOCOL } from '../../core/sync-protocol.ts';
import { applyLinkWish } from '../control/link-wish.ts';
import { appendEvent } from '../db/events.ts';
import { acquireLease } from '../db/leases.ts';
import { createLink, type Link, moveLink } from '../db/links.ts';
import { inTransaction } from '../db/open.ts';
import { restartRuns } from '../db/runs.ts';
import { createServer, findServerByName, getServer, type KnownServer, listServers, updateServer } from '../db/servers.ts';
import { deleteSetting } from '../db/settings.ts';
import { saveSigner } from '../db/signers.ts';
import { getTrustedServer, replaceAncestors } from '../db/trusted-servers.ts';
import type { Site } from '../site.ts';
import { believeSuccession } from '../succession/believe.ts';
import { CLAIMED } from '../succession/claim.ts';
import { beginReturn, enterFence } from '../succession/fence.ts';
import { createRequest } from './certificates.ts';
import { refuseCycle } from './endorse.ts';
import { otherProtocol } from './enrol.ts';
import { type EnrolToken, parseEnrolToken } from './enrol-token.ts';
import { dropCredentials, forgetParent } from './leave.ts';
import { pinnedJson } from './pinned-request.ts';
import { pinnedAgent } from './pinned-tls.ts';
import { verifySigner } from './signatures.ts';

export type Joined = { readonly parent: KnownServer; readonly link: Link };

/**
 * The child's side of an enrolment. The token says whom to trust: the TLS connection is pinned to its CA before the
 * token is shown. Joining the same parent again refreshes certificate, URL and keys and keeps what was replicated; joining another one moves
 * the link there: a server has one parent. What the token says of a place that the new parent took is believed: it is its operator's word.
 *
 * Errors: `token_wrong`, `token_expired`, `name_taken`, `unreachable`, `denied` (another server answers), `usage` (URL, ourselves),
 * `bad_signature` (the answer is not what the token speaks of), `wrong_state` (we would be above ourselves).
 */
export async function joinParent(
  site: Site,
  join: { readonly url: string; readonly token: string; readonly actor: string },
): Promise<Joined> {
  const redeemed = await redeemAt(site, join);
  const parents = (await listServers(site.db)).filter(({ relation }) => relation === 'parent').map(({ id }) => id);
  return becomeChild(
    site,
    redeemed,
    join.actor,
    parents.filter((id) => id !== redeemed.answer.serverId),
  );
}

/**
 * The second half: what a parent answered, checked before, is kept, and from then on it is our parent, in the place of
 * `former`: the link is moved, with all that is set for it. Errors: `name_taken`, `wrong_state`.
 */
export async function becomeChild(
  site: Site,
  redeemed: Pick<Redeemed, 'url' | 'token' | 'answer' | 'keyPem'>,
  actor: string,
  former: readonly Id[] = [],
): Promise<Joined> {
  const { url, token, answer, keyPem } = redeemed;
  const parentId = parseId(answer.serverId);
  refuseCycle(answer.ancestors ?? [], site.self.id);
  await checkName(site, parentId, answer.name);
  await site.keys.storeParentCredentials(parentId, { keyPem, certPem: answer.certificate, caPem: answer.ca });
  const joined = await inTransaction(site.db, async (trx) => {
    const known = await getServer(trx, parentId);
    const parent = parentRow(site, { url, token, answer, known });
    if (known) await updateServer(trx, parent);
    else await createServer(trx, parent, site.self.id);
    await saveSigner(trx, answer.signer, site.now());
    await replaceAncestors(trx, answer.ancestors ?? [], { voucher: parentId, origin: site.self.id, now: site.now() });
    for (const id of former) await replaceParent(site, trx, id, parentId);
    const link = await createLink(trx, { parentId, origin: site.self.id });
    await applyLinkWish(site, trx, link);
    for (const predecessor of token.succeeds ?? []) await believeToken(site, trx, { predecessor, successor: parent });
    await beginReturn(trx);
    await deleteSetting(trx, CLAIMED);
    const event = { kind: 'server.joined', subject: parentId, data: { name: parent.name, url, again: known !== undefined } };
    await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, ...event });
    return { parent, link };
  });
  await dropCredentials(site, former);
  site.wake.notify('parents');
  site.log.info('joined a parent', { server: parentId, name: joined.parent.name, url });
  return joined;
}

type Told = { readonly predecessor: Id; readonly successor: KnownServer };

async function believeToken(site: Site, trx: Knex.Transaction, { predecessor, successor }: Told): Promise<void> {
  const at = site.now();
  const isSelf = predecessor === site.self.id;
  const name = isSelf ? site.self.name : ((await getServer(trx, predecessor)) ?? (await getTrustedServer(trx, predecessor)))?.name;
  const names = { predecessorName: name ?? predecessor, successorName: successor.name };
  await believeSuccession(site, trx, { predecessor, successor: successor.id, ...names, ground: 'token', at, objects: null });
  if (isSelf) await enterFence(site, trx, { id: successor.id, name: successor.name, at });
}

/** The unfinished run of the link begins anew: whoever works on it loses its lease. */
async function replaceParent(site: Site, trx: Knex.Transaction, former: Id, parentId: Id): Promise<void> {
  await forgetParent(site, trx, former);
  const link = await moveLink(trx, former, parentId);
  if (link === undefined) return;
  const lease = await acquireLease(trx, { name: `link:${link}`, holder: site.self.id, ttlMs: 1, now: site.now() });
  if (lease !== undefined) await restartRuns(trx, link, lease.fencing);
}

/** What enrolling somewhere gave; nothing is kept yet. `certificateKeyId` is that of the certificate we got. */
export type Redeemed = {
  readonly url: string;
  readonly token: Pick<EnrolToken, 'caPin'> & Partial<Pick<EnrolToken, 'succeeds'>>;
  readonly answer: z.infer<typeof EnrolAnswer>;
  readonly keyPem: string;
  readonly certificateKeyId: Digest;
};

/** Redeems a token for a client certificate, as a child or (`content`) to take content only. Errors: as `joinParent`. */
export async function redeemAt(site: Site, join: { readonly url: string; readonly token: string }, purpose?: 'content'): Promise<Redeemed> {
  const url = parseServerUrl(join.url);
  const token = parseEnrolToken(join.token);
  if (token.caPin === site.keys.caPin) {
    throw new AppError('usage', 'the token is of this very server', { hint: 'make the token at the other server and use it here' });
  }
  const { keyPem, csrPem } = await createRequest(site.self.id);
  const answer = checkAnswer(await postRequest(site, { url, token, csr: csrPem, purpose }), token, keyPem);
  return { url, token, answer, keyPem, certificateKeyId: spkiDigest(readCertificate(answer.certificate).publicKey) };
}

/** The base URL of another server: https, no path, no credentials. Throws `usage`. */
function parseServerUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '' || url.search !== '' || url.pathname !== '/') {
    throw new AppError('usage', `"${printable(text)}" is not the URL of a server`, {
      hint: 'give https://HOST[:PORT], as serve prints it',
    });
  }
  return url.origin;
}

type Wish = { readonly url: string; readonly token: EnrolToken; readonly csr: string; readonly purpose: 'content' | undefined };

async function postRequest(site: Site, { url, token, csr, purpose }: Wish): Promise<z.infer<typeof EnrolAnswer>> {
  const request: z.infer<typeof EnrolRequest> = {
    protocol: SYNC_PROTOCOL,
    token: token.text,
    serverId: site.self.id,
    name: site.self.name,
    csr,
    signer: site.keys.signer,
    ...(purpose === undefined ? {} : { purpose }),
  };
  const agent = pinnedAgent({ pin: token.caPin, now: site.now });
  try {
    const parsed = EnrolAnswer.safeParse(await pinnedJson(agent, { url: `${url}/api/v1/enrol`, json: request }));
    if (parsed.success) return parsed.data;
    throw new AppError('version_mismatch', `${url} answered the enrolment in a form we do not know`, {
      hint: 'update the older of the two servers',
    });
  } finally {
    agent.destroy();
  }
}

/** What is known of the parent before it answers; `above` is the digest of the list of servers above it. */
type Expected = Pick<EnrolToken, 'caPin' | 'signerKeyId' | 'above'>;

/** The pin vouches for the connection; what came over it must fit the token and our key all the same. Throws `bad_signature`, `version_mismatch`. */
export function checkAnswer(answer: z.infer<typeof EnrolAnswer>, token: Expected, keyPem: string): z.infer<typeof EnrolAnswer> {
  if (answer.protocol !== SYNC_PROTOCOL) throw otherProtocol(answer.protocol);
  verifySigner(answer.signer, token.caPin);
  const ca = readCertificate(answer.ca);
  const ours = readCertificate(answer.certificate);
  const isSound =
    spkiDigest(ca.publicKey) === token.caPin &&
    answer.signer.keyId === token.signerKeyId &&
    answer.signer.serverId === answer.serverId &&
    ours.checkIssued(ca) &&
    ours.verify(ca.publicKey) &&
    ours.checkPrivateKey(createPrivateKey(keyPem));
  const above = answer.ancestors === undefined ? undefined : digestOf(answer.ancestors);
  if (!isSound || above !== token.above)
    throw new AppError('bad_signature', 'the parent answered with keys that do not fit the token', {
      hint: 'get a new token from the parent',
    });
  return answer;
}

function readCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new AppError('bad_signature', 'the parent answered with a certificate that cannot be read', { cause });
  }
}

async function checkName(site: Site, parentId: Id, name: string): Promise<void> {
  const holder = await findServerByName(site.db, name);
  if (!holder || holder.id === parentId) return;
  throw new AppError('name_taken', `the parent is called ${name}, and so is another server known here (${holder.id})`, {
    hint: 'server names must differ; rename one of them',
  });
}

type ParentFacts = {
  readonly url: string;
  readonly token: Pick<EnrolToken, 'caPin'>;
  readonly answer: z.infer<typeof EnrolAnswer>;
  readonly known: KnownServer | undefined;
};

function parentRow(site: Site, { url, token, answer, known }: ParentFacts): KnownServer {
  return {
    id: answer.serverId as Id,
    name: answer.name as Name,
    relation: 'parent',
    state: 'active',
    url,
    caPin: token.caPin,
    ca: answer.ca,
    certificateKeyId: spkiDigest(readCertificate(answer.certificate).publicKey),
    signerKeyId: answer.signer.keyId as Digest,
    createdAt: known?.createdAt ?? site.now(),
    seenAt: site.now(),
  };
}
