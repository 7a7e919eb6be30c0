import type { Json } from '../../core/canonical-json.ts';
import { LogQuery } from '../../core/control-protocol.ts';
import { readToc } from '../archives/toc.ts';
import { getRun } from '../db/runs.ts';
import { type LogLine, readLog } from '../read-log.ts';
import { viewRun } from '../replication/view.ts';
import { requestRun } from '../replication.ts';
import type { Site } from '../site.ts';

/** An answer is a request's body: at most 1 MiB, so the oldest lines stay out when they are too many. */
const MOST_BYTES = 800_000;

/** What a server above may ask of us, by the kind of its question. */
export const OWN_ANSWERS: { readonly [kind: string]: (site: Site, query: Json) => Promise<Json> } = {
  logs: ownLog,
  'run.start': startRun,
  'archive.toc': async (site) => (await readToc(site)) as unknown as Json,
};

async function ownLog(site: Site, query: Json): Promise<Json> {
  const { order, run, target, since, limit } = LogQuery.parse(query);
  const filter = { orderId: order, runId: run, target: target === undefined ? undefined : [target.toLowerCase()], since };
  const items = [...(await readLog(site.dataDir, filter, limit))];
  while (JSON.stringify(items).length > MOST_BYTES) items.splice(0, Math.ceil(items.length / 10));
  return { items: items as readonly LogLine[] as unknown as Json };
}

/** A run of our own link, as a person here would start it. Errors: those of `requestRun`. */
async function startRun(site: Site): Promise<Json> {
  const id = await requestRun(site, { trigger: 'command' });
  site.log.info('a server above asked for a run', { run: id });
  const run = await getRun(site.db, id);
  return run === undefined ? null : (viewRun(run) as unknown as Json);
}
