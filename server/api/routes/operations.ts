import { z } from 'zod';
import { AppError } from '../../../core/errors.ts';
import { printable } from '../../../core/ids.ts';
import { findOperation, type Operation, operationTopic } from '../../operations.ts';
import { type Route, type RouteContext, route } from '../route.ts';

const FOLLOW_MS = 25_000;

/** Long work that another route started: `?after=REVISION` answers when it changed, or after 25 s. */
export const OPERATION_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/operations/:id',
    listener: 'api',
    action: 'store.read',
    summary: 'How far a long piece of work is, and how it ended',
    input: z.object({ after: z.coerce.number().int().nonnegative().optional() }),
    handle: (context, { after }) => followOperation(context, after),
  }),
];

async function followOperation(context: RouteContext, after: number | undefined): Promise<Operation> {
  const { site, params, signal } = context;
  const operation = operationOf(context);
  if (operation.revision !== after || operation.state !== 'running') return operation;
  await site.wake.wait(operationTopic(params['id'] ?? ''), FOLLOW_MS, signal);
  return operationOf(context);
}

function operationOf({ site, params }: RouteContext): Operation {
  const id = params['id'] ?? '';
  const operation = findOperation(site, id);
  if (operation) return operation;
  throw new AppError('not_found', `there is no operation ${printable(id)}`, {
    hint: 'operations end with the server that runs them; ask for the work again',
  });
}
