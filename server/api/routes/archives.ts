import { z } from 'zod';
import { Toc } from '../../../core/toc.ts';
import { readToc } from '../../archives/toc.ts';
import { type Route, route } from '../route.ts';
import { startLongWork } from './images.ts';

const path = z.string().min(1).max(4096);

/** Replication by file. Long work answers with an operation (routes/operations.ts). */
export const ARCHIVE_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/archives/toc',
    listener: 'api',
    action: 'image.read',
    summary: 'What this server holds, for who makes an archive file for it',
    output: Toc,
    handle: ({ site }) => readToc(site),
  }),
  route({
    method: 'POST',
    path: '/api/v1/archives',
    listener: 'api',
    action: 'store.write',
    summary: 'Write an archive file on this machine (unix socket only)',
    input: z.strictObject({ path, want: z.array(z.string().max(128)).max(10_000).default([]), have: path.optional() }),
    handle: async (context, input) => startLongWork(context, { kind: 'archive-create', ...input }),
  }),
  route({
    method: 'POST',
    path: '/api/v1/archives/load',
    listener: 'api',
    action: 'image.write',
    summary: 'Take what an archive file on this machine brings (unix socket only)',
    input: z.strictObject({ path }),
    handle: async (context, input) => startLongWork(context, { kind: 'archive-load', ...input }),
  }),
];
