import { z } from 'zod';
import { readLog } from '../../read-log.ts';
import { type Route, route } from '../route.ts';

const MOST_LINES = 10_000;

const Query = z.object({
  order: z.string().max(64).optional(),
  run: z.string().max(64).optional(),
  target: z.string().max(128).optional(),
  limit: z.coerce.number().int().min(1).max(MOST_LINES).default(200),
});

/** The log of this server, newest lines, oldest first; filtered by the ids that lines carry. */
export const LOG_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/logs',
    listener: 'api',
    action: 'log.read',
    summary: 'Lines of the log, by order, run or target',
    input: Query,
    output: z.object({ items: z.array(z.looseObject({ time: z.string(), level: z.string(), event: z.string() })), next: z.null() }),
    handle: async ({ site }, query) => {
      const filter = {
        orderId: query.order,
        runId: query.run,
        target: query.target === undefined ? undefined : [query.target.toLowerCase()],
      };
      return { items: await readLog(site.dataDir, filter, query.limit), next: null };
    },
  }),
];
