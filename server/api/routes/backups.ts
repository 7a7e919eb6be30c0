import { z } from 'zod';
import { type Route, route } from '../route.ts';
import { startLongWork } from './images.ts';

/** Backups of this server. Long work answers with an operation (routes/operations.ts). */
export const BACKUP_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/backups',
    listener: 'api',
    action: 'server.write',
    summary: 'Write a backup of this server into a file on this machine (unix socket only)',
    input: z.strictObject({ path: z.string().min(1).max(4096), content: z.enum(['reference', 'whole']) }),
    handle: async (context, input) => startLongWork(context, { kind: 'backup', ...input }),
  }),
];
