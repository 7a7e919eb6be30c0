import { z } from 'zod';
import { NAME_RULE } from '../../../core/ids.ts';
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
      name: z.string().regex(NAME_RULE.pattern, NAME_RULE.words).optional(),
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
