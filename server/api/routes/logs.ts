import { z } from 'zod';
import type { Json } from '../../../core/canonical-json.ts';
import { LogAnswer } from '../../../core/control-protocol.ts';
import { askBelow } from '../../control/ask.ts';
import { findServerBelow } from '../../control/servers-below.ts';
import { readLog } from '../../read-log.ts';
import { type Route, route } from '../route.ts';

const MOST_LINES = 10_000;
const MOST_FROM_BELOW = 1_000;

const Query = z.object({
  order: z.string().max(64).optional(),
  run: z.string().max(64).optional(),
  target: z.string().max(128).optional(),
  /** Only lines written then or later. */
  since: z.iso.datetime().optional(),
  /** Of a server below instead of this one: fetched from there while the caller waits, at most 1,000 lines. */
  server: z.string().max(64).optional(),
  limit: z.coerce.number().int().min(1).max(MOST_LINES).default(200),
});

function definedOnly(values: Readonly<Record<string, string | number | undefined>>): Record<string, Json> {
  return Object.fromEntries(Object.entries(values).filter((entry): entry is [string, string | number] => entry[1] !== undefined));
}

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
      const since = query.since === undefined ? undefined : Date.parse(query.since);
      if (query.server !== undefined && query.server !== site.self.name && query.server !== site.self.id) {
        const below = await findServerBelow(site.db, query.server);
        const { order, run, target } = query;
        const asked = {
          kind: 'logs',
          query: { ...definedOnly({ order, run, target, since }), limit: Math.min(query.limit, MOST_FROM_BELOW) },
        };
        return { items: LogAnswer.parse(await askBelow(site, below, asked)).items, next: null };
      }
      const filter = {
        since,
        orderId: query.order,
        runId: query.run,
        target: query.target === undefined ? undefined : [query.target.toLowerCase()],
      };
      return { items: await readLog(site.dataDir, filter, query.limit), next: null };
    },
  }),
];
