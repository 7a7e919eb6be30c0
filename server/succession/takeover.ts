import type { Knex } from 'knex';
import type { z } from 'zod';
import { type SignedTakeover, TakeoverBody, type TakeoverEnrolment } from '../../core/deputy.ts';
import type { Envelope } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import { type Digest, type Id, printable } from '../../core/ids.ts';
import type { EnrolAnswer } from '../../core/sync-protocol.ts';
import { publishObject } from '../catalogue.ts';
import { listObjectsOfKind } from '../db/objects.ts';
import { getSuccession } from '../db/successions.ts';
import { requestBytes } from '../shared/enrolment.ts';
import type { Site } from '../site.ts';
import { admitChild } from '../trust/enrol.ts';
import { verifyEnvelope, verifySigner, verifyText } from '../trust/signatures.ts';
import { believeSuccession } from './believe.ts';
import { childrenOf, deputyOf } from './deputy.ts';

/** Says, signed, that this server took the place of another, once. In the caller's transaction. */
export async function publishTakeover(site: Site, trx: Knex.Transaction, predecessor: Id): Promise<void> {
  const succession = await getSuccession(trx, predecessor);
  if (succession?.successor !== site.self.id) return;
  const { at, predecessorName: name } = succession;
  const held = await ownTakeover(site, trx, predecessor);
  if (held !== undefined && TakeoverBody.parse(held.body).at === at) return;
  await publishObject(site, trx, { kind: 'takeover', ...(held === undefined ? {} : { id: held.id }), body: { predecessor, name, at } });
}

async function ownTakeover(site: Pick<Site, 'self'>, db: Knex, predecessor: Id): Promise<Envelope | undefined> {
  const own = await listObjectsOfKind(db, 'takeover', site.self.id);
  return own.find(({ body }) => TakeoverBody.safeParse(body).data?.predecessor === predecessor);
}

/** For whoever asks: that this server took that place. Throws `not_found` when it did not. */
export async function showTakeover(site: Site, predecessor: string): Promise<SignedTakeover> {
  const takeover = await ownTakeover(site, site.db, predecessor as Id);
  if (takeover === undefined)
    throw new AppError('not_found', `server ${site.self.name} has not taken the place of server ${printable(predecessor)}`);
  return { takeover, signer: site.keys.signer } as unknown as SignedTakeover;
}

/** A takeover that the server with this pin signed. Throws `bad_signature`, `bad_data`. */
export function verifyTakeover(
  { takeover, signer }: SignedTakeover,
  caPin: Digest,
): { readonly successor: Id; readonly body: TakeoverBody } {
  verifySigner(signer, caPin);
  verifyEnvelope(takeover as unknown as Envelope, signer);
  const body = TakeoverBody.safeParse(takeover.body);
  if (takeover.kind === 'takeover' && body.success) return { successor: takeover.origin as Id, body: body.data };
  throw new AppError('bad_data', `object ${takeover.id} is no takeover`);
}

/**
 * Believes a takeover, whose signature was verified before, when the one whose place it is had named its maker. In the caller's
 * transaction; true when it is believed.
 */
export async function believeTakeover(
  site: Site,
  trx: Knex.Transaction,
  successor: Id,
  { predecessor, name, at }: TakeoverBody,
): Promise<boolean> {
  const deputy = await deputyOf(trx, predecessor as Id);
  if (deputy?.serverId !== successor) return false;
  const names = { predecessorName: name, successorName: deputy.name };
  await believeSuccession(site, trx, { predecessor: predecessor as Id, successor, ...names, ground: 'deputy', at, objects: null });
  return true;
}

/**
 * Admits a child of the server whose place this one took, without a token: that one had told who its children are, and the child signs
 * what it asks. Errors: `wrong_state` (no such place was taken), `not_permitted` (no child of that one), `bad_signature`, those of `admitChild`.
 */
export async function enrolTakenOver(site: Site, asked: TakeoverEnrolment): Promise<z.infer<typeof EnrolAnswer>> {
  const { predecessor, request, signature } = asked;
  if ((await getSuccession(site.db, predecessor as Id))?.successor !== site.self.id)
    throw new AppError('wrong_state', `server ${site.self.name} has not taken the place of server ${printable(predecessor)}`);
  const child = (await childrenOf(site.db, predecessor as Id)).find(({ serverId }) => serverId === request.serverId);
  if (child === undefined || request.signer.serverId !== child.serverId || request.name !== child.name)
    throw new AppError('not_permitted', `server ${printable(request.name)} was no child of the server before`, {
      hint: 'join with a token: waystation server token',
    });
  verifySigner(request.signer, child.caPin as Digest);
  if (!verifyText(request.signer, requestBytes({ wish: 0, parentId: site.self.id, request }), signature))
    throw new AppError('bad_signature', `the request is not signed by server ${printable(request.name)}`);
  return admitChild(site, request, async () => async () => {});
}
