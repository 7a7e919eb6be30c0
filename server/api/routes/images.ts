import { z } from 'zod';
import type { Identity } from '../../../core/authorise.ts';
import { AppError } from '../../../core/errors.ts';
import { fetchThroughQueue } from '../../care/repair-run.ts';
import { viewStore } from '../../care/store-view.ts';
import { deleteImage } from '../../images/delete.ts';
import { listHeldImages, showHeldImage } from '../../images/held.ts';
import { doWork, type Work } from '../../images/long-work.ts';
import { resolveImage } from '../../images/reference.ts';
import { viewImage } from '../../images/view.ts';
import { type Operation, startOperation } from '../../operations.ts';
import { actorOf } from '../actor.ts';
import { type Route, type RouteContext, route } from '../route.ts';

const path = z.string().min(1).max(4096);
const ImportInput = z.strictObject({
  path,
  name: z.string().max(64),
  version: z.string().max(64).optional(),
  arch: z.string().max(16).optional(),
  sectorSize: z.number().int().optional(),
  group: z.string().max(64).optional(),
  activateAt: z.string().max(40).optional(),
  ring: z.number().int().optional(),
});
const GcInput = z.strictObject({ dryRun: z.boolean().default(false), graceMs: z.number().int().nonnegative().optional() });
/** A command that repairs follows its run so long; the run itself goes on. */
const LONGEST_REPAIR_MS = 24 * 3_600_000;
const LEAST_GRACE_MS = 3_600_000;

/** Images of this server. Long work answers with an operation (routes/operations.ts). */
export const IMAGE_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/images',
    listener: 'api',
    action: 'image.read',
    summary: 'Images, newest first',
    handle: async ({ site }) => ({ items: await listHeldImages(site), next: null }),
  }),
  route({
    method: 'POST',
    path: '/api/v1/images',
    listener: 'api',
    action: 'image.write',
    summary: 'Import a disk image from a file on this machine (unix socket only)',
    input: ImportInput,
    handle: async (context, input) => startLongWork(context, { kind: 'import', ...input }),
  }),
  route({
    method: 'GET',
    path: '/api/v1/images/:reference',
    listener: 'api',
    action: 'image.read',
    summary: 'One image by NAME[@VERSION]',
    handle: async ({ site, params }) => showHeldImage(site, await resolveImage(site.db, params['reference'] ?? '')),
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/images/:reference',
    listener: 'api',
    action: 'image.write',
    summary: 'Delete an image of our own, here and at the children',
    handle: async ({ site, params, identity }) => viewImage(await deleteImage(site, params['reference'] ?? '', actorOf(identity))),
  }),
  route({
    method: 'POST',
    path: '/api/v1/images/:reference/verify',
    listener: 'api',
    action: 'store.write',
    summary: 'Read and hash every chunk of an image',
    handle: async (context) => startLongWork(context, { kind: 'verify', reference: context.params['reference'] ?? '' }),
  }),
  route({
    method: 'POST',
    path: '/api/v1/images/:reference/export',
    listener: 'api',
    action: 'image.write',
    summary: 'Write the disk of an image to a file on this machine (unix socket only)',
    input: z.strictObject({ path }),
    handle: async (context, input) => startLongWork(context, { kind: 'export', reference: context.params['reference'] ?? '', ...input }),
  }),
];

/** The content store. */
export const STORE_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/store',
    listener: 'api',
    action: 'store.read',
    summary: 'What the content store holds, quota and forecast, the last scrub, what is lost',
    handle: async ({ site }) => viewStore(site),
  }),
  route({
    method: 'POST',
    path: '/api/v1/store/check',
    listener: 'api',
    action: 'store.write',
    summary: 'Read everything in the store and hold it against its digests',
    input: z.strictObject({ repair: z.boolean().default(false) }),
    handle: async (context, input) => startLongWork(context, { kind: 'check', ...input }),
  }),
  route({
    method: 'POST',
    path: '/api/v1/store/gc',
    listener: 'api',
    action: 'store.write',
    summary: 'Free what no image and no active order needs',
    input: GcInput,
    handle: async (context, input) => {
      refuseShortGrace(input);
      return startLongWork(context, { kind: 'gc', ...input });
    },
  }),
];

/** Starts long work that somebody asked for; only who is on this machine may name a path. */
export function startLongWork({ site, identity }: RouteContext, work: Work): Operation {
  if ('path' in work) refusePathsFromAfar(identity);
  return startOperation(site, work.kind, (report) =>
    doWork(site, work, { actor: actorOf(identity), report, fetchChunks: fetchThroughQueue(AbortSignal.timeout(LONGEST_REPAIR_MS)) }),
  );
}

/**
 * Content is stored before the image that names it is published: here, where imports and runs are at work, only its
 * age protects it in between. With the server down nothing is between.
 */
function refuseShortGrace({ dryRun, graceMs }: z.infer<typeof GcInput>): void {
  if (dryRun || graceMs === undefined || graceMs >= LEAST_GRACE_MS) return;
  throw new AppError('usage', 'a grace of less than an hour is for a server that is down', {
    hint: 'stop serve first, or leave the grace out',
  });
}

/** A path is opened with the server's rights: only who has them already (the unix socket) may name one. */
function refusePathsFromAfar(identity: Identity): void {
  if (identity.kind === 'local-admin') return;
  throw new AppError('not_permitted', "files are read and written on the server's own machine, not through --url", {
    hint: 'run this command there, with --data',
  });
}
