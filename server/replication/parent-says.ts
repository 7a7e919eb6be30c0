import { AppError, type ErrorCode } from '../../core/errors.ts';

/**
 * What a parent may make us believe of ourselves. Its other codes speak of its own disk, its own database, its own runs:
 * taken as ours, "the disk is full" would wait for space here, and "taken over" would end a run without an end.
 */
const BELIEVED: readonly ErrorCode[] = [
  'unreachable',
  'version_mismatch',
  'not_found',
  'denied',
  'token_wrong',
  'token_expired',
  'revoked',
  'not_permitted',
  'disabled',
  'expired',
  'bad_data',
  'bad_packet',
  'config',
  'busy',
];

/** Waits for an answer of the parent; a refusal with a code that is none of its business becomes `failed`, with its words. */
export async function parentSays<Answer>(answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof AppError) || BELIEVED.includes(error.code)) throw error;
    throw new AppError('failed', `the parent could not answer: ${error.message} (${error.code})`, {
      hint: error.hint ?? "see the parent's log",
      cause: error,
    });
  }
}
