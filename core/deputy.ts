import { z } from 'zod';
import { Endorsement, EnrolRequest, EnvelopeSchema, SignerRecord } from './sync-protocol.ts';

/*
 * Two kinds of objects about who takes whose place (docs/decisions/0028). `deputy`: a server says who may take its place; `takeover`: a
 * server says whose place it has taken. The second counts only where the first was said of it.
 */

/** Objects that speak for who made them: its own for ever, and nobody else's. */
export const STATEMENT_KINDS: readonly string[] = ['deputy', 'takeover'];

const id = z.string().regex(/^[0-9a-f-]{36}$/);
const { name, caPin } = Endorsement.shape;

/** The body of a `deputy` object; null: nobody may. Where none was ever made, nobody has said anything. */
export const DeputyBody = z.object({ deputy: z.object({ serverId: id, name, caPin, url: z.string().max(512) }).nullable() });
export type Deputy = NonNullable<z.infer<typeof DeputyBody>['deputy']>;

/** The body of a `takeover` object; `at` epoch ms by the clock of who made it. */
export const TakeoverBody = z.object({ predecessor: id, name, at: z.number().int().nonnegative().max(8.64e15) });
export type TakeoverBody = z.infer<typeof TakeoverBody>;

/** A takeover outside of a catalogue: the object, and by which key of its maker it is signed. */
export const SignedTakeover = z.object({ takeover: EnvelopeSchema, signer: SignerRecord });
export type SignedTakeover = z.infer<typeof SignedTakeover>;

/** How a child of the lost server enrols at the one that took its place: it signs what it asks, its parent had told who it is. */
export const TakeoverEnrolment = z.object({
  predecessor: id,
  request: EnrolRequest.omit({ token: true, purpose: true }),
  signature: z.string().max(128),
});
export type TakeoverEnrolment = z.infer<typeof TakeoverEnrolment>;

/** Servers that a deputy is to take over: the children of the one whose deputy it is. */
export const DeputyChildren = z.object({ children: z.array(z.object({ serverId: id, name, caPin })).max(5_000) });
export type DeputyChildren = z.infer<typeof DeputyChildren>;
