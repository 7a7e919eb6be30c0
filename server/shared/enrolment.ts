import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson, type Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import { EnrolAnswer, EnrolRequest, type SignerRecord } from '../../core/sync-protocol.ts';
import { verifyText } from '../trust/signatures.ts';

/**
 * An enrolment that travels through a server's row in the shared database. The child writes `request` for the wished parent,
 * the parent `answer` or `refusal`, the child at last `outcome`; a new wish begins anew. Each side signs what it writes with
 * its signing key, because whoever can log in to the database can write there.
 */
export const Enrolment = z.object({
  /** Of which wish (`parent_revision`) this is. */
  wish: z.number().int(),
  parentId: z.string().max(36).nullable(),
  request: EnrolRequest.omit({ token: true, purpose: true }).optional(),
  requestSignature: z.string().max(128).optional(),
  answer: EnrolAnswer.optional(),
  answerSignature: z.string().max(128).optional(),
  refusal: z.object({ code: z.string().max(64), message: z.string().max(4096), hint: z.string().max(1024).optional() }).optional(),
  outcome: z.enum(['joined', 'left']).optional(),
});
export type Enrolment = z.infer<typeof Enrolment>;
export type AskedEnrolment = Omit<Enrolment, 'request' | 'requestSignature'> & {
  readonly request: NonNullable<Enrolment['request']>;
  readonly requestSignature: string;
};

export function readEnrolment(row: Json): Enrolment | undefined {
  return Enrolment.safeParse(row).data;
}

/** What the child's signature covers: for which parent, after which wish, with which key. */
export function requestBytes({ wish, parentId, request }: Pick<AskedEnrolment, 'wish' | 'parentId' | 'request'>): Buffer {
  return Buffer.from(`waystation-enrol-request-1\n${canonicalJson({ wish, parentId, request } as unknown as Json)}`);
}

/** What the parent's signature covers: its answer, and the request that it answers. */
export function answerBytes({ requestSignature, answer }: Pick<Enrolment, 'requestSignature' | 'answer'>): Buffer {
  const digest = createHash('sha256')
    .update(requestSignature ?? '')
    .digest('hex');
  return Buffer.from(`waystation-enrol-answer-1\n${canonicalJson({ request: digest, answer } as unknown as Json)}`);
}

/** Throws `bad_signature` when the signer, verified before, did not write these bytes. */
export function requireWritten(bytes: Buffer, signature: string | undefined, signer: SignerRecord, what: string): void {
  if (signature !== undefined && verifyText(signer, bytes, signature)) return;
  throw new AppError('bad_signature', `${what} in the shared database is not signed by server ${signer.serverId}`, {
    hint: 'nothing of it was taken; see who can log in to the database',
  });
}
