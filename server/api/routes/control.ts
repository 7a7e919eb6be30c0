import { ReportAnswer, Reports } from '../../../core/control-protocol.ts';
import type { Id } from '../../../core/ids.ts';
import { receiveReports } from '../../control/receive.ts';
import { type Route, type RouteContext, route } from '../route.ts';

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
];

function callerOf({ identity }: RouteContext): Id {
  if (identity.kind !== 'server') throw new Error('authorise let somebody else than a server in');
  return identity.serverId;
}
