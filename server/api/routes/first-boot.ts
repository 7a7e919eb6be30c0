import { FirstBoot, ReportAnswer } from '../../../core/agent-protocol.ts';
import { callHome } from '../../orders/call-home.ts';
import { type Route, route } from '../route.ts';

export const FIRST_BOOT_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/first-boot',
    listener: 'api',
    action: 'first-boot.report',
    summary: 'The deployed system calls home; the nonce on its disk is the proof',
    input: FirstBoot,
    output: ReportAnswer,
    handle: ({ site, remoteAddress }, call) => callHome(site, { ...call, from: remoteAddress }),
  }),
];
