import { AppError } from '../../../core/errors.ts';
import type { Digest } from '../../../core/ids.ts';
import { EnrolAnswer, EnrolRequest } from '../../../core/sync-protocol.ts';
import { enrolChild } from '../../trust/enrol.ts';
import { RenewAnswer, RenewRequest, renewChildCertificate } from '../../trust/renew.ts';
import { type Route, route } from '../route.ts';

/** How another server gets its client certificate from us, and a new one in time. */
export const ENROL_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/enrol',
    listener: 'api',
    // Open to everybody: the one-time token in the body is the proof.
    action: 'server.enrol',
    summary: 'Redeem a one-time token for a client certificate',
    input: EnrolRequest,
    output: EnrolAnswer,
    handle: ({ site }, request) => enrolChild(site, request),
  }),
  route({
    method: 'POST',
    path: '/api/v1/sync/renew',
    listener: 'api',
    action: 'sync.renew',
    summary: 'Renew the client certificate that asks',
    input: RenewRequest,
    output: RenewAnswer,
    handle: async ({ site, identity, clientKeyId }, { csr }) => {
      if (identity.kind !== 'server' || !clientKeyId) throw new AppError('not_permitted', 'only a server renews its certificate');
      return renewChildCertificate(site, { id: identity.serverId, keyId: clientKeyId as Digest }, csr);
    },
  }),
];
