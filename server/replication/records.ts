import { describeError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { isRunEnded, type RunState } from '../../core/run.ts';
import { parsePlan, sumBytes } from '../../sync/replicate/plan.ts';
import type { RunChange, RunRecords, VerifiedCatalogue } from '../../sync/replicate/ports.ts';
import { appendEvent } from '../db/events.ts';
import { type Link, updateLinkForecast, updateLinkHeld } from '../db/links.ts';
import { inTransaction } from '../db/open.ts';
import { findLastPlan, type GivenBytes, pruneRuns, type Run, type RunPatch, slimOldPlan, updateRun } from '../db/runs.ts';
import { IMAGES } from '../holdings/activation.ts';
import { noteFailure } from '../holdings/failure.ts';
import { relatedManifests } from '../holdings/related.ts';
import { shareBytes, wantedManifests } from '../holdings/wanted.ts';
import type { Site } from '../site.ts';
import { endReturn } from '../succession/fence.ts';
import { noteKept } from './new-epoch.ts';
import { publishReplicas } from './publish.ts';
import { CATALOGUE } from './wait-for-news.ts';

/** Bytes and requests that this process added to the run. */
export type Traffic = { bytesReceived: number; bytesSent: number; bytesRsync: number; requests: number };

/** Ended runs that `sync history` can show, per link. */
const KEPT_RUNS = 1000;

/** The run's row, written under its fencing number with the newest counters each time. */
export function openRecords(
  site: Site,
  given: { run: Run; link: Link; traffic: () => Traffic; sources: () => readonly GivenBytes[] },
): RunRecords {
  const { run, link } = given;
  let state: RunState = run.state;
  let plan: RunChange['plan'] = parsePlan(run.plan);
  let waitsFor = run.error?.code ?? null;
  // What this process had fetched, round by round; of a run that goes on after a kill, what is known of the last one.
  const fetched = new Set<Digest>(plan?.want);
  const counters = () => {
    const { bytesReceived, bytesSent, bytesRsync, requests } = given.traffic();
    return {
      bytesReceived: run.bytesReceived + bytesReceived,
      bytesSent: run.bytesSent + bytesSent,
      bytesRsync: run.bytesRsync + bytesRsync,
      requests: run.requests + requests,
      sources: addGiven(run.sources, given.sources()),
    };
  };
  const write = (db: Parameters<typeof updateRun>[0], patch: RunPatch) =>
    updateRun(db, { id: run.id, state, fencing: run.fencing }, { ...counters(), ...patch });

  /** Once when a run begins to wait, and once when it goes on: not each time it looks. */
  const noteWaiting = async (error: Run['error']) => {
    waitsFor = error?.code ?? null;
    const kind = error === null ? 'run.resumed' : 'run.waiting';
    const data = { link: link.id, state, ...(error === null ? {} : { error: { ...error } }) };
    const words = error === null ? {} : { code: error.code, words: error.message };
    site.log.warn(error === null ? 'replication goes on' : 'replication waits', { runId: run.id, ...words });
    await appendEvent(site.db, { origin: site.self.id, at: site.now(), actor: 'system', subject: run.id, kind, data });
  };

  const end = async (next: RunState, patch: RunPatch, catalogue?: VerifiedCatalogue) => {
    const at = site.now();
    await inTransaction(site.db, async (trx) => {
      const data = catalogue === undefined ? {} : await publish(trx, catalogue, at);
      if (patch.error) await noteFailure(trx, plan?.want ?? [], patch.error);
      await write(trx, { ...patch, state: next, endedAt: at, progress: null });
      // Whoever sees the run done must not see the plan that it carried out.
      if (next === 'done' && run.trigger !== 'repair') await updateLinkForecast(trx, link.id, null);
      await pruneRuns(trx, link.id, KEPT_RUNS);
      await slimOldPlan(trx, link.id);
      const words = patch.error === null || patch.error === undefined ? {} : { error: { ...patch.error } };
      const event = { origin: site.self.id, at, actor: 'system', subject: run.id };
      await appendEvent(trx, {
        ...event,
        kind: `run.${next}`,
        data: { link: link.id, ...JSON.parse(JSON.stringify(counters())), ...data, ...words },
      });
    });
    state = next;
    if (patch.error) site.log.warn('replication failed', { runId: run.id, code: patch.error.code, words: patch.error.message });
    site.wake.notify('runs');
    site.wake.notify(IMAGES);
    site.wake.notify(CATALOGUE);
  };

  const publish = async (trx: Parameters<typeof publishReplicas>[1], catalogue: VerifiedCatalogue, at: number) => {
    const brought = { want: plan?.want ?? [], objects: catalogue.objects };
    const storedBytes = await shareBytes(trx, sumBytes(plan?.archive?.parts ?? []), brought);
    const absent: readonly string[] = plan?.absent ?? [];
    const isComplete = (manifest: Digest) => (plan?.wanted ?? []).includes(manifest) && !absent.includes(manifest);
    const isAbsent = (manifest: Digest) => absent.includes(manifest);
    await noteKept(site, trx, link, catalogue);
    const content = { storedBytes, isComplete, isAbsent, isFetched: (manifest: Digest) => fetched.has(manifest) };
    const published = await publishReplicas(site, trx, catalogue.objects, { at, content });
    const { epoch, generation, mark } = catalogue;
    if (!plan?.away && run.trigger !== 'repair') await endReturn(site, trx);
    // A run that did not hear of the parent proves nothing of today.
    await updateLinkHeld(trx, link.id, { epoch, generation, mark, at: plan?.away ? link.lastRunAt : at });
    return { generation: catalogue.generation, ...published };
  };

  return {
    async save(change) {
      const patch = toPatch(change);
      plan = change.plan ?? plan;
      for (const manifest of plan?.want ?? []) fetched.add(manifest);
      if (change.state !== undefined && isRunEnded(change.state)) {
        // Nothing new: an empty catalogue is published as well, for its epoch and generation.
        const catalogue = change.state === 'done' ? (change.plan?.catalogue ?? undefined) : undefined;
        return end(change.state, patch, catalogue);
      }
      // Octets arrive again, or the next state has come.
      const isBack = waitsFor === 'unreachable' && change.progress !== undefined && change.error === undefined;
      const isOver = waitsFor !== null && (change.state !== undefined || isBack);
      await write(site.db, isOver ? { ...patch, error: null } : patch);
      if (isOver || (patch.error && patch.error.code !== waitsFor)) await noteWaiting(isOver ? null : (patch.error ?? null));
      state = change.state ?? state;
      site.wake.notify('runs');
    },
    wantedManifests: (objects) => wantedManifests(site.db, link.id, objects),
    relatedManifests: (wanted, objects) => relatedManifests(site.db, wanted, objects),
    publish: (catalogue) => end('done', { error: null }, catalogue),
    publishWithoutParent: (catalogue, why) =>
      end('partial', { error: describeError(why) }, catalogue ?? { epoch: link.heldEpoch, generation: link.heldGeneration, objects: [] }),
    acceptedCatalogue: () => acceptedCatalogue(site, link),
  };
}

/** What each server gave in all attempts of a run together. */
function addGiven(before: readonly GivenBytes[], now: readonly GivenBytes[]): GivenBytes[] {
  const servers = [...new Set([...before, ...now].map(({ server }) => server))];
  return servers.map((server) => {
    const all = [...before, ...now].filter((one) => one.server === server);
    const total = (key: 'bytesReceived' | 'bytesRsync') => all.reduce((sum, one) => sum + one[key], 0);
    return { server, name: all.at(-1)?.name ?? server, bytesReceived: total('bytesReceived'), bytesRsync: total('bytesRsync') };
  });
}

/** What the last run had accepted of the parent and did not come to publish: it is signed, and newer than what is held. */
async function acceptedCatalogue(site: Site, link: Link): Promise<VerifiedCatalogue | null> {
  const last = await findLastPlan(site.db, link.id);
  const catalogue = last === undefined || last.state === 'done' ? null : (parsePlan(last.plan)?.catalogue ?? null);
  const isNews = catalogue !== null && catalogue.epoch === link.heldEpoch && catalogue.generation > link.heldGeneration;
  return isNews ? catalogue : null;
}

function toPatch({ error, plan, ...change }: RunChange): RunPatch {
  return {
    ...change,
    ...(plan === undefined ? {} : { plan: JSON.parse(JSON.stringify(plan)) }),
    ...(error === undefined ? {} : { error: describeError(error) }),
  };
}
