import { z } from 'zod';
import { SignedTakeover, TakeoverEnrolment } from '../../../core/deputy.ts';
import { EnrolAnswer } from '../../../core/sync-protocol.ts';
import { Heard } from '../../succession/call-back.ts';
import { setDeputy, showDeputy } from '../../succession/deputy.ts';
import { hearTakeover } from '../../succession/hear-takeover.ts';
import { enrolTakenOver, showTakeover } from '../../succession/takeover.ts';
import { actorOf, callerOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

const View = z.object({ server: z.string(), deputy: z.object({ name: z.string(), url: z.string() }).nullable(), said: z.boolean() });

/** Who may take this server's place, and what servers ask of one that took another's. */
export const DEPUTY_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/deputy',
    listener: 'api',
    action: 'server.read',
    summary: 'Who may take the place of this server; `said` is false while nobody has decided',
    output: View,
    handle: ({ site }) => showDeputy(site),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/deputy',
    listener: 'api',
    action: 'server.write',
    summary: 'Name the child that may take the place of this server, or (null) nobody',
    input: z.strictObject({ server: z.string().max(63).nullable(), url: z.string().max(512).optional() }),
    output: View,
    handle: ({ site, identity }, { server, url }) => setDeputy(site, { server, url, actor: actorOf(identity) }),
  }),
  route({
    method: 'GET',
    path: '/api/v1/takeovers/:server',
    listener: 'api',
    // Open to everybody: the answer is signed, and travels with the catalogue as well.
    action: 'server.enrol',
    summary: 'That this server took the place of another, signed',
    output: SignedTakeover,
    handle: ({ site, params }) => showTakeover(site, params['server'] ?? ''),
  }),
  route({
    method: 'POST',
    path: '/api/v1/takeovers/enrol',
    listener: 'api',
    // Open to everybody: the signature in the body is the proof.
    action: 'server.enrol',
    summary: 'Enrol a child of the server whose place this one took',
    input: TakeoverEnrolment,
    output: EnrolAnswer,
    handle: ({ site }, asked) => enrolTakenOver(site, asked),
  }),
  route({
    method: 'POST',
    path: '/api/v1/control/takeover',
    listener: 'api',
    action: 'control.report',
    summary: 'A child says, signed, that it took the place of this server',
    input: SignedTakeover,
    output: Heard,
    handle: (context, signed) => hearTakeover(context.site, callerOf(context), signed),
  }),
];
