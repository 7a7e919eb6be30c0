import type { ZodType } from 'zod';
import { AppError } from '../../core/errors.ts';
import { printable } from '../../core/ids.ts';

/** The input as its schema makes it. Throws `usage` that names the first member that is wrong. */
export function parseInput(schema: ZodType, value: unknown): unknown {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue?.path.map(String).join('.') ?? '';
  const what = issue?.message.split('\n')[0] ?? 'not valid';
  throw new AppError('usage', where ? `"${printable(where)}": ${what}` : `the request: ${what}`, { hint: 'see /api/v1/openapi.json' });
}
