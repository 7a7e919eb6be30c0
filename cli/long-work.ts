import type { Json } from '../core/canonical-json.ts';
import { errorFromPlain } from '../core/errors.ts';
import { progressOf } from '../core/progress.ts';
import type { Work } from '../server/images/long-work.ts';
import type { Operation } from '../server/operations.ts';
import type { Client } from './client.ts';
import type { Frame } from './frame.ts';
import type { ProgressBar } from './progress-bar.ts';

/**
 * Does long work through a running server or under the directory's lock, with a bar on a terminal. Gives
 * the document the work ends with; throws what it failed with.
 */
export async function runLongWork<Document>(frame: Frame, label: string, work: Work): Promise<Document> {
  const reached = await frame.reach();
  const bar = frame.progress(label);
  try {
    if (reached.kind === 'client') return done(bar, (await follow(reached.client, work, bar)) as Document);
    const started = performance.now();
    const { doWork } = await import('../server/images/long-work.ts');
    const report = (done: number, total: number) => bar.update(progressOf('', done, total, performance.now() - started));
    const { fetchHere } = await import('../server/care/repair-run.ts');
    return done(bar, (await doWork(reached.site, work, { actor: 'local-admin', report, fetchChunks: fetchHere })) as Document);
  } finally {
    bar.stop();
    if (reached.kind === 'site') await reached.site.close();
  }
}

function done<Document>(bar: ProgressBar, document: Document): Document {
  bar.finish();
  return document;
}

async function follow(client: Client, work: Work, bar: ProgressBar): Promise<Json> {
  const { path, body } = requestOf(work);
  let operation = await client.post<Operation>(path, body);
  while (operation.state === 'running') {
    if (operation.progress) bar.update({ ...operation.progress, stage: '' });
    operation = await client.get<Operation>(`/api/v1/operations/${operation.id}?after=${operation.revision}`);
  }
  if (operation.error) throw errorFromPlain(operation.error);
  return operation.result;
}

function requestOf(work: Work): { path: string; body: Record<string, Json | undefined> } {
  switch (work.kind) {
    case 'import': {
      const { kind: _, ...body } = work;
      return { path: '/api/v1/images', body };
    }
    case 'engine': {
      const { kind: _, ...body } = work;
      return { path: '/api/v1/engines', body };
    }
    case 'verify':
      return { path: `/api/v1/images/${encodeURIComponent(work.reference)}/verify`, body: {} };
    case 'export':
      return { path: `/api/v1/images/${encodeURIComponent(work.reference)}/export`, body: { path: work.path } };
    case 'archive-create':
      return { path: '/api/v1/archives', body: { path: work.path, want: [...work.want], have: work.have } };
    case 'archive-load':
      return { path: '/api/v1/archives/load', body: { path: work.path } };
    case 'backup':
      return { path: '/api/v1/backups', body: { path: work.path, content: work.content } };
    case 'check':
      return { path: '/api/v1/store/check', body: { repair: work.repair } };
    case 'gc':
      return { path: '/api/v1/store/gc', body: { dryRun: work.dryRun, graceMs: work.graceMs } };
  }
}
