import { Readable } from 'node:stream';
import { z } from 'zod';
import { ChunkRequest, Hello, Instruction, Report, ReportAnswer, Welcome } from '../../../core/agent-protocol.ts';
import { AppError } from '../../../core/errors.ts';
import type { Digest } from '../../../core/ids.ts';
import { readOrderedFrames } from '../../orders/chunks.ts';
import { sayHello } from '../../orders/hello.ts';
import { type Agent, instruct } from '../../orders/instruct.ts';
import { takeReport } from '../../orders/report.ts';
import { Reply, type Route, type RouteContext, route } from '../route.ts';

/** The frame let only agents here; an agent acts on the target that its key is bound to and on nothing else. */
function agentOf({ identity }: RouteContext): Agent {
  if (identity.kind !== 'agent') throw new AppError('not_permitted', 'only the agent of a machine may ask this');
  return { targetId: identity.targetId, keyId: identity.keyId as Digest };
}

export const AGENT_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/agent/hello',
    listener: 'api',
    action: 'agent.hello',
    summary: 'An agent introduces itself; its key is bound to the target of its boot id',
    input: Hello,
    output: Welcome,
    handle: async ({ site, clientKeyId }, hello) => {
      if (clientKeyId === undefined) throw new AppError('denied', 'an agent must show a client certificate');
      return sayHello(site, clientKeyId as Digest, hello);
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/agent/next',
    listener: 'api',
    action: 'agent.work',
    summary: 'What the agent shall do next; waits up to 25 s',
    input: z.object({}),
    output: Instruction,
    handle: (context) => instruct(context.site, agentOf(context), context.signal),
  }),
  route({
    method: 'POST',
    path: '/api/v1/agent/report',
    listener: 'api',
    action: 'agent.work',
    summary: 'Progress and outcome of a task; repeating it is harmless',
    input: Report,
    output: ReportAnswer,
    handle: (context, report) => takeReport(context.site, agentOf(context), report),
  }),
  route({
    method: 'POST',
    path: '/api/v1/agent/chunks',
    listener: 'api',
    action: 'content.read',
    summary: "Stored frames that hold these chunks of the order's image",
    input: ChunkRequest,
    handle: async (context, request) => {
      const frames = await readOrderedFrames(context.site, agentOf(context), request);
      return new Reply(200, Readable.fromWeb(frames as Parameters<typeof Readable.fromWeb>[0]), {
        'content-type': 'application/octet-stream',
      });
    },
  }),
];
