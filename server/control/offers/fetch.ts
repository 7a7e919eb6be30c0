import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Json } from '../../../core/canonical-json.ts';
import { OfferedObject } from '../../../core/control-protocol.ts';
import type { Envelope } from '../../../core/envelope.ts';
import { AppError } from '../../../core/errors.ts';
import { type Digest, newId } from '../../../core/ids.ts';
import { PLAIN_ENCODINGS, READ_ENCODINGS } from '../../../core/negotiate.ts';
import type { RunState } from '../../../core/run.ts';
import { ArchivePlan, SYNC_PROTOCOL } from '../../../core/sync-protocol.ts';
import { parseImageBody } from '../../../sync/replicate/image-body.ts';
import { EMPTY_PLAN, parsePlan, type RunPlan, sumBytes } from '../../../sync/replicate/plan.ts';
import type { ContentSource, RunRecords, RunTools } from '../../../sync/replicate/ports.ts';
import { executeRun } from '../../../sync/replicate/run.ts';
import { openPipeListener } from '../../../sync/tunnel/pipe-listener.ts';
import { requireQuota } from '../../care/quota.ts';
import { type Approval, endApproval, noteApproval } from '../../db/approvals.ts';
import { appendEvent } from '../../db/events.ts';
import { inTransaction } from '../../db/open.ts';
import { nameHolder } from '../../db/replicas.ts';
import { freeBytes } from '../../free-bytes.ts';
import { IMAGES } from '../../holdings/activation.ts';
import { relatedPublished } from '../../holdings/related.ts';
import { publishReplicas } from '../../replication/publish.ts';
import { CATALOGUE } from '../../replication/wait-for-news.ts';
import type { Site } from '../../site.ts';
import { verifyEnvelope } from '../../trust/signatures.ts';
import { trustedSigner } from '../../trust/trusted-signer.ts';
import { askBelow } from '../ask.ts';
import { controlTopic, dispatchWithin } from '../dispatch.ts';
import type { ServerBelow } from '../servers-below.ts';
import { issueTicket } from './tickets.ts';

const PATIENCE = 4;

/**
 * Fetches an approved image from the server that offers it and makes it an object of our catalogue, under its own origin and
 * signature: our other children get it with their next run. The steps are those of a replication run (sync/replicate), from `diff` on,
 * over connections that the offering server opens. Throws what went wrong; what came is kept for the next try.
 */
export async function fetchOffer(site: Site, from: ServerBelow, approval: Approval, signal: AbortSignal): Promise<void> {
  const object = await readObject(site, from, approval, signal);
  // What came is kept; a try that broke off says nothing against the next one.
  const start = startFor(object, parsePlan(approval.plan)?.unpacked);
  let failure: AppError | undefined;
  const records = recordsOf(site, { approval, from, start }, (error) => {
    failure = error;
  });
  const state = await fetchFrom(site, from, { start, records, signal });
  if (state !== 'done') throw failure ?? new AppError('failed', `the fetching of ${approval.imageId} ended as ${state}`);
}

/** The plan of a fetching that begins: this object's content, nothing else. */
export function startFor(object: Envelope, unpacked: RunPlan['unpacked'] = []): RunPlan {
  return { ...EMPTY_PLAN, unpacked, catalogue: { epoch: 0, generation: 0, objects: [object] } };
}

type Fetch = { readonly start: RunPlan; readonly records: RunRecords; readonly signal: AbortSignal };

/** Fetches content from a server below, over a connection that it opens. One at a time. Gives the state in which it ended. */
export async function fetchFrom(site: Site, from: ServerBelow, { start, records, signal }: Fetch): Promise<RunState> {
  const incoming = join(site.dataDir, 'store', 'incoming-offers');
  await mkdir(incoming, { recursive: true, mode: 0o700 });
  const pipes = await openPipeListener(join(site.dataDir, 'run', 'offers.sock'));
  const tools: RunTools = {
    catalogue: { reach: unused, read: unused },
    content: contentOf(site, from, signal),
    records,
    store: site.store,
    pipes,
    incoming,
    freeBytes: () => freeBytes(incoming),
    reserveBytes: site.config.storeReserveBytes,
    requireQuota: (bytes) => requireQuota(site, bytes),
    onRsyncBytes: () => undefined,
    monotonicMs: () => performance.now(),
    sleep: (ms) => site.wake.wait('pause', ms, signal),
    signal,
    patience: PATIENCE,
  };
  try {
    return await executeRun(tools, { state: 'diff', plan: start });
  } finally {
    await pipes.close();
  }
}

async function unused(): Promise<never> {
  throw new Error('an offer brings its object along');
}

/** The object, as its own server signed it. Errors: `bad_signature`, `mismatch` for another object, `name_taken`. */
async function readObject(site: Site, from: ServerBelow, { imageId }: Approval, signal: AbortSignal): Promise<Envelope> {
  const parsed = OfferedObject.safeParse(await askBelow(site, from, { kind: 'offer.object', query: { imageId } }, signal));
  if (!parsed.success) throw new AppError('version_mismatch', `server ${from.name} told of its offer in a form we do not know`);
  const { object, ...brought } = parsed.data;
  const envelope = object as unknown as Envelope;
  if (envelope.id !== imageId || envelope.origin !== from.id || envelope.kind !== 'image' || envelope.body === null) {
    throw new AppError('mismatch', `server ${from.name} told of another object than the one it offers`);
  }
  verifyEnvelope(envelope, await trustedSigner(site, brought, { keyId: envelope.keyId, serverId: envelope.origin }));
  const { name, version } = parseImageBody(envelope);
  if (await nameHolder(site.db, { name, version, id: envelope.id })) {
    throw new AppError('name_taken', `image ${name}@${version} is here already, made by another server`, {
      hint: 'import it there under another name or version',
    });
  }
  return envelope;
}

function contentOf(site: Site, from: ServerBelow, signal: AbortSignal): ContentSource {
  return {
    async requestArchive({ have, want, isPlain }) {
      const encodings = [...(isPlain ? PLAIN_ENCODINGS : READ_ENCODINGS)];
      const query = { protocol: SYNC_PROTOCOL, have: [...have], want: [...want], encodings };
      const plan = ArchivePlan.safeParse(await askBelow(site, from, { kind: 'offer.archive', query }, signal));
      if (plan.success) return plan.data;
      throw new AppError('version_mismatch', `server ${from.name} answered our archive request in a form we do not know`);
    },
    async openTunnel(archive) {
      const { ticket, arrived, revoke } = issueTicket(site, from.via, newId(site.now()));
      try {
        await askBelow(site, from, { kind: 'offer.tunnel', query: { archive, ticket } }, signal);
        return await arrived;
      } finally {
        revoke();
      }
    },
  };
}

type Fetching = { readonly approval: Approval; readonly from: ServerBelow; readonly start: RunPlan };

function recordsOf(site: Site, { approval, from, start }: Fetching, onFailure: (error: AppError) => void): RunRecords {
  const { imageId } = approval;
  let plan = start;
  return {
    async save(change) {
      plan = change.plan ?? plan;
      if (change.error !== undefined) onFailure(change.error);
      await noteApproval(site.db, imageId, {
        ...(change.plan === undefined ? {} : { plan: JSON.parse(JSON.stringify(change.plan)) as Json }),
        ...(change.progress === undefined ? {} : { progress: change.progress }),
      });
    },
    wantedManifests: async (objects) => objects.map((object) => parseImageBody(object).manifest),
    relatedManifests: (wanted, objects) => relatedPublished(site.db, wanted, objects),
    async publish({ objects }) {
      const at = site.now();
      const storedBytes = sumBytes(plan.archive?.parts ?? []);
      const isComplete = (manifest: Digest) => plan.wanted.includes(manifest);
      await inTransaction(site.db, async (trx) => {
        const content = { storedBytes: () => storedBytes, isComplete, isAbsent: () => false };
        const published = await publishReplicas(site, trx, objects, { at, content });
        if (!(await endApproval(trx, imageId, { state: 'published', words: null, now: at }))) {
          throw new AppError('wrong_state', `the approval of ${imageId} was taken back`);
        }
        await dispatchWithin(site, trx, from, {
          kind: 'offer.decided',
          body: { imageId, state: 'published', words: null },
          actor: 'system',
        });
        const event = { origin: site.self.id, at, actor: 'system', subject: imageId };
        await appendEvent(trx, { ...event, kind: 'offer.published', data: { bytes: storedBytes, ...published } });
      });
      for (const topic of [IMAGES, CATALOGUE, 'events', 'runs', controlTopic(from.via)]) site.wake.notify(topic);
    },
  };
}
