import { z } from 'zod';
import { Answer, Pulled, ReportAnswer, Reports } from '../../../core/control-protocol.ts';
import { AppError } from '../../../core/errors.ts';
import { onceClosed } from '../../../sync/tunnel/once-closed.ts';
import { takeAnswer } from '../../control/ask.ts';
import { isTicketOf, redeemTicket } from '../../control/offers/tickets.ts';
import { answerPull } from '../../control/pulled.ts';
import { checkProtocol, receiveReports } from '../../control/receive.ts';
import { TUNNEL_PROTOCOL } from '../../replication/parent-client.ts';
import { callerOf } from '../actor.ts';
import { type Route, route } from '../route.ts';
import type { UpgradeRoute } from '../upgrade.ts';

/** What children tell us and ask of us as their parent (core/control-protocol.ts). */
export const CONTROL_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/control/reports',
    listener: 'api',
    action: 'control.report',
    summary: 'Events and states of a child and of the servers behind it',
    input: Reports,
    output: ReportAnswer,
    handle: async (context, reports) => receiveReports(context.site, callerOf(context), reports),
  }),
  route({
    method: 'GET',
    path: '/api/v1/control/pull',
    listener: 'api',
    action: 'control.pull',
    summary: 'What this server wants done by a child or behind it; waits up to 25 s',
    input: z.object({
      protocol: z.coerce.number().int(),
      after: z.coerce.number().int().nonnegative(),
      paused: z.enum(['true', 'false']).optional(),
    }),
    output: Pulled,
    handle: async (context, { protocol, after, paused }) => {
      checkProtocol(protocol);
      return answerPull(context.site, callerOf(context), { after, paused: paused && paused === 'true' }, context.signal);
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/control/answers',
    listener: 'api',
    action: 'control.pull',
    summary: 'The answer to a question that a pull brought',
    input: Answer,
    handle: async (context, answer) => {
      checkProtocol(answer.protocol);
      takeAnswer(context.site, callerOf(context), answer);
    },
  }),
];

/** A connection that a child was asked to open: its content flows upwards in it, and this server is the one that fetches. */
export const OFFER_UPGRADE: UpgradeRoute = {
  path: '/api/v1/control/tunnel',
  protocol: TUNNEL_PROTOCOL,
  action: 'control.pull',
  check: async (context) => {
    if (isTicketOf(context.site, callerOf(context), context.query['ticket'] ?? '')) return;
    throw new AppError('not_found', 'nobody waits for this connection');
  },
  handle: async (context, socket, head) => {
    const closed = new Promise<void>((resolve) => onceClosed(socket, resolve));
    if (!redeemTicket(context.site, callerOf(context), context.query['ticket'] ?? '', { link: socket, head })) socket.destroy();
    await closed;
  },
};
