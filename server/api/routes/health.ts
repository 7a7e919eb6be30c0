import { z } from 'zod';
import { AppError } from '../../../core/errors.ts';
import { viewStore } from '../../care/store-view.ts';
import type { Site } from '../../site.ts';
import type { Metrics } from '../metrics.ts';
import { Reply, type Route, route } from '../route.ts';

const Health = z.object({ status: z.literal('ok') });

/** Whether the process lives, whether it can work (database answers), and numbers for a monitor. */
export function healthRoutes(metrics: Metrics): readonly Route[] {
  return (['boot', 'api'] as const).flatMap((listener) => [
    route({
      method: 'GET',
      path: '/healthz',
      listener,
      action: 'health.read',
      summary: 'The process lives',
      output: Health,
      handle: async () => ({ status: 'ok' }),
    }),
    route({
      method: 'GET',
      path: '/readyz',
      listener,
      action: 'health.read',
      summary: 'The database answers: work can be taken',
      output: Health,
      handle: async ({ site }) => {
        try {
          await site.db('settings').first('key');
        } catch (cause) {
          throw new AppError('waiting', 'the database does not answer', {
            hint: 'see the log; the server carries on when it is back',
            cause,
          });
        }
        return { status: 'ok' };
      },
    }),
    ...(listener === 'api' ? [metricsRoute(metrics)] : []),
  ]);
}

function metricsRoute(metrics: Metrics): Route {
  return route({
    method: 'GET',
    path: '/metrics',
    listener: 'api',
    action: 'metrics.read',
    summary: 'Counters and gauges, Prometheus text format',
    handle: async ({ site }) => {
      const store = await viewStore(site);
      const gauges = {
        process_resident_bytes: process.memoryUsage.rss(),
        process_uptime_seconds: Math.round(process.uptime()),
        store_bytes: store.storedBytes,
        store_free_bytes: store.freeBytes,
        store_chunks: store.chunks,
        store_quota_bytes: store.quotaBytes ?? 0,
        store_lost_chunks: store.lost.chunks,
        store_scrub_damages: store.scrub.last?.damages ?? 0,
        store_scrub_completed_seconds: store.scrub.last?.endedAt ? Math.round(Date.parse(store.scrub.last.endedAt) / 1000) : 0,
      };
      return new Reply(200, metrics.render({ ...gauges, ...sharedGauges(site) }), { 'content-type': 'text/plain; version=0.0.4' });
    },
  });
}

/** Nothing for a server that meets nobody in a database. */
function sharedGauges({ shared, now }: Pick<Site, 'shared' | 'now'>): Record<string, number> {
  const state = shared?.state();
  if (state === undefined || state.state === 'unknown') return {};
  const isAway = state.state === 'unreachable';
  return { shared_database_up: isAway ? 0 : 1, shared_database_away_seconds: isAway ? Math.round((now() - state.since) / 1000) : 0 };
}
