import { Readable } from 'node:stream';
import { z } from 'zod';
import { AppError } from '../../../core/errors.ts';
import { findDownload, startDownload } from '../../archives/downloads.ts';
import { createUpload, dropUpload, loadUpload, takePiece, viewUpload } from '../../archives/uploads.ts';
import { actorOf } from '../actor.ts';
import { Reply, type Route, type RouteContext, route } from '../route.ts';

const Upload = z.object({ id: z.string(), sizeBytes: z.number().int(), doneBytes: z.number().int(), pieceBytes: z.number().int() });
const id = ({ params }: RouteContext) => params['id'] ?? '';

/** Archive files by way of a browser: made here and fetched, sent here and loaded. Nobody names a path. */
export const ARCHIVE_TRANSFER_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/archives/downloads',
    listener: 'api',
    action: 'store.write',
    summary: 'Build an archive for a server below (it is asked what it holds), for a table of contents, or for a new server; an operation',
    input: z
      .strictObject({
        want: z.array(z.string().max(128)).max(10_000).default([]),
        server: z.string().min(1).max(64).optional(),
        toc: z.json().optional(),
      })
      .refine(({ server, toc }) => server === undefined || toc === undefined, 'say server or toc, not both'),
    handle: async ({ site }, wish) => startDownload(site, wish),
  }),
  route({
    method: 'GET',
    path: '/api/v1/archives/downloads/:id',
    listener: 'api',
    action: 'store.write',
    summary: 'The archive file, F.rad',
    handle: async (context) => {
      const { archive, fileName } = findDownload(context.site, id(context));
      return new Reply(200, Readable.from(archive.octets()), {
        'content-type': 'application/octet-stream',
        'content-disposition': `attachment; filename="${fileName}"`,
        'content-length': String(archive.sizeBytes),
        'cache-control': 'no-store',
      });
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/archives/uploads',
    listener: 'api',
    action: 'image.write',
    summary: 'Begin to send an archive file here, in pieces',
    input: z.strictObject({
      sizeBytes: z
        .number()
        .int()
        .positive()
        .max(Number.MAX_SAFE_INTEGER / 4),
    }),
    output: Upload,
    handle: ({ site }, { sizeBytes }) => createUpload(site, sizeBytes),
  }),
  route({
    method: 'GET',
    path: '/api/v1/archives/uploads/:id',
    listener: 'api',
    action: 'image.write',
    summary: 'How much of it is here',
    output: Upload,
    handle: async (context) => viewUpload(context.site, id(context)),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/archives/uploads/:id',
    listener: 'api',
    action: 'image.write',
    summary: 'The next piece, as application/octet-stream; ?offset= says where it begins',
    output: Upload,
    handle: async (context) => takePiece(context.site, id(context), { offset: offsetOf(context), body: context.body }),
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/archives/uploads/:id',
    listener: 'api',
    action: 'image.write',
    summary: 'Give an upload up',
    handle: async (context) => dropUpload(context.site, id(context)),
  }),
  route({
    method: 'POST',
    path: '/api/v1/archives/uploads/:id/load',
    listener: 'api',
    action: 'image.write',
    summary: 'Take what the uploaded archive brings, verified like a run; an operation',
    input: z.strictObject({}),
    handle: async (context) => loadUpload(context.site, id(context), actorOf(context.identity)),
  }),
];

function offsetOf({ query }: RouteContext): number {
  const offset = z.coerce.number().int().nonnegative().safeParse(query['offset']);
  if (offset.success && query['offset'] !== '') return offset.data;
  throw new AppError('usage', 'a piece needs ?offset=, the byte where it begins', {});
}
