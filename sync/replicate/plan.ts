import { z } from 'zod';
import type { ErrorCode } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { ArchivePart, EnvelopeSchema } from '../../core/sync-protocol.ts';
import type { VerifiedCatalogue } from './ports.ts';

/**
 * What a run has decided so far, kept in `runs.plan` so that the next process goes on where a killed one stood.
 * Each part of it is written by one state and only read by later ones; the objects were verified before they came in.
 */
export type RunPlan = {
  /** By `toc`: what is new at the parent. */
  readonly catalogue: VerifiedCatalogue | null;
  /** By `diff`: manifests that are complete here when the run publishes: new ones in scope, and known ones that are wanted by now. */
  readonly wanted: readonly Digest[];
  /** By `diff`: which of those are to be fetched, and complete ones of the same images that the archive may build on. */
  readonly want: readonly Digest[];
  readonly have: readonly Digest[];
  /** A repair: single chunks of the wanted manifests, which are here but for them. Empty otherwise. */
  readonly wantChunks: readonly Digest[];
  /** By `verify`: delta frames could not be read here, so plain ones are asked for. */
  readonly isPlain: boolean;
  /** By `archive`. */
  readonly archive: { readonly key: string; readonly parts: readonly ArchivePart[] } | null;
  /** By `archive`: wanted manifests that nobody we asked holds. */
  readonly absent: readonly Digest[];
  /** By `transfer`: names of parts that are unpacked into our own packs. */
  readonly unpacked: readonly string[];
  /** What an interrupted run was fetching: the same archive first, whatever is new, so that what has arrived of it counts. */
  readonly unfinished: readonly Digest[];
  /** What is fetched now is what the parent lacks: the run goes without it when nobody else has it. */
  readonly isExtra: boolean;
  /** Why the parent could not be asked; the run completes what was known before, from other servers. */
  readonly away: { readonly code: ErrorCode; readonly message: string; readonly hint?: string } | null;
  /** How many archives were asked for: content that stays incomplete must not ask for ever. */
  readonly rounds: number;
};

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);

const StoredPlan = z.object({
  catalogue: z
    .object({ epoch: z.number(), generation: z.number(), objects: z.array(EnvelopeSchema), mark: z.string().optional() })
    .nullable(),
  wanted: z.array(digest),
  want: z.array(digest),
  have: z.array(digest),
  wantChunks: z.array(digest).default([]),
  isPlain: z.boolean().default(false),
  archive: z.object({ key: z.string(), parts: z.array(ArchivePart) }).nullable(),
  absent: z.array(digest),
  unpacked: z.array(z.string()),
  unfinished: z.array(digest).default([]),
  isExtra: z.boolean().default(false),
  away: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }).nullable().default(null),
  rounds: z.number().int(),
});

export const EMPTY_PLAN: RunPlan = {
  catalogue: null,
  wanted: [],
  want: [],
  have: [],
  wantChunks: [],
  isPlain: false,
  archive: null,
  absent: [],
  unpacked: [],
  unfinished: [],
  isExtra: false,
  away: null,
  rounds: 0,
};

/** Reads a stored plan; undefined when there is none, or it is another release's. */
export function parsePlan(stored: unknown): RunPlan | undefined {
  const parsed = StoredPlan.safeParse(stored);
  return parsed.success ? (parsed.data as unknown as RunPlan) : undefined;
}

/** The parts that are still to come, in the order of the archive. */
export function partsLeft(plan: RunPlan): readonly ArchivePart[] {
  return (plan.archive?.parts ?? []).filter((part) => !plan.unpacked.includes(part.name));
}

export function sumBytes(parts: readonly { readonly sizeBytes: number }[]): number {
  return parts.reduce((sum, part) => sum + part.sizeBytes, 0);
}
