import { z } from 'zod';
import { issueEnrolToken } from '../../trust/enrol-token.ts';
import { type Route, route } from '../route.ts';

const MAX_TTL_SECONDS = 30 * 86_400;

export const TOKEN_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/enrol-tokens',
    listener: 'api',
    action: 'token.create',
    summary: 'Make a one-time token with which another server enrols here; it is shown once',
    input: z.object({
      name: z
        .string()
        .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'names have 1 to 63 characters a-z 0-9 . _ - and start with a letter or digit')
        .optional(),
      ttlSeconds: z.number().int().min(1).max(MAX_TTL_SECONDS).optional(),
    }),
    output: z.object({ token: z.string(), expiresAt: z.iso.datetime() }),
    handle: async ({ site }, { name, ttlSeconds }) => {
      const wanted = { ...(name === undefined ? {} : { name }), ...(ttlSeconds === undefined ? {} : { ttlMs: ttlSeconds * 1000 }) };
      const { token, expiresAt } = await issueEnrolToken(site, wanted);
      return { token, expiresAt: new Date(expiresAt).toISOString() };
    },
  }),
];
