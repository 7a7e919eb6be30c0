import type { Json } from '../../core/canonical-json.ts';
import { AppError, describeError } from '../../core/errors.ts';
import { getPeer } from '../db/peers.ts';
import { getServer } from '../db/servers.ts';
import { setEnrolment } from '../db/shared/servers.ts';
import { revokeServer } from '../servers.ts';
import type { Site } from '../site.ts';
import { readFence } from '../succession/fence.ts';
import { admitChild } from '../trust/enrol.ts';
import { verifySigner } from '../trust/signatures.ts';
import { type AskedEnrolment, answerBytes, type Enrolment, readEnrolment, requestBytes, requireWritten } from './enrolment.ts';
import type { Shared } from './open.ts';
import type { Registered } from './registry.ts';

const WHAT = 'answering a server that is to be a child of this one';

/** The parent's side: looks at rows that changed. Who asks to be our child is admitted or refused in words; who has left us is none any more. */
export async function answerWishes(site: Site, shared: Shared, changed: readonly Registered[]): Promise<void> {
  const isFenced = (await readFence(site.db))?.phase === 'fenced';
  for (const server of changed) {
    if (server.id === site.self.id) continue;
    const enrolment = readEnrolment(server.enrol);
    if (enrolment === undefined || enrolment.wish !== server.parentRevision || enrolment.parentId !== server.parentId) continue;
    if (server.parentId !== site.self.id) await forgetChild(site, server, enrolment);
    else if (!isFenced && isAsked(enrolment)) await answer(site, shared, { server, asked: enrolment });
  }
}

function isAsked(enrolment: Enrolment): enrolment is AskedEnrolment {
  const { request, requestSignature, answer, refusal, outcome } = enrolment;
  const isOpen = answer === undefined && refusal === undefined && outcome === undefined;
  return isOpen && request !== undefined && requestSignature !== undefined;
}

type Asked = { readonly server: Registered; readonly asked: AskedEnrolment };

async function answer(site: Site, shared: Shared, { server, asked }: Asked): Promise<void> {
  const told = await admit(site, { server, asked });
  const enrol = { ...asked, ...told } as unknown as Json;
  const { id, revision } = server;
  // Another request by now: it is looked at when it is seen.
  await shared.write(WHAT, (trx) => setEnrolment(trx, id, { enrol, revision }), 'repeat');
}

async function admit(site: Site, { server, asked }: Asked): Promise<Partial<Enrolment>> {
  try {
    if (!site.config.enrolThroughDatabase)
      throw new AppError('not_permitted', `server ${site.self.name} takes no children through the database`, {
        hint: `make a token there (waystation server token) and use it here (waystation server join), or set enrolThroughDatabase there`,
      });
    await requireSame(site, { server, asked });
    const answered = {
      requestSignature: asked.requestSignature,
      answer: await admitChild(site, asked.request, async () => async () => {}),
    };
    return { answer: answered.answer, answerSignature: site.keys.sign(answerBytes(answered)) };
  } catch (error) {
    const refusal = describeError(error);
    site.log.warn('a server is not admitted as a child', {
      server: server.id,
      name: server.name,
      code: refusal.code,
      error: refusal.message,
    });
    return { refusal };
  }
}

/** The request is of the server whose row it is, under the keys by which we know that one. */
async function requireSame(site: Site, { server, asked }: Asked): Promise<void> {
  const { request } = asked;
  const pin = (await getPeer(site.db, server.id))?.caPin;
  if (pin === undefined || request.serverId !== server.id || request.name !== server.name || request.signer.serverId !== server.id)
    throw new AppError('bad_signature', 'the request is not of the server in whose row it stands');
  verifySigner(request.signer, pin);
  requireWritten(requestBytes(asked), asked.requestSignature, request.signer, 'the request');
}

/** It says itself that it has joined another, or none. */
async function forgetChild(site: Site, server: Registered, { outcome }: Enrolment): Promise<void> {
  const known = await getServer(site.db, server.id);
  if (outcome === undefined || known?.relation !== 'child' || known.state !== 'active' || known.isContentOnly) return;
  if (!site.config.enrolThroughDatabase) return;
  await revokeServer(site, server.id, 'system');
  site.log.info('a child has another parent now', { server: server.id, name: server.name });
}
