import type { Duplex } from 'node:stream';
import type { ContentStore } from '../../core/content-store.ts';
import type { Envelope } from '../../core/envelope.ts';
import type { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import type { Progress } from '../../core/progress.ts';
import type { RunState } from '../../core/run.ts';
import type { ArchivePlan } from '../../core/sync-protocol.ts';
import type { PipeListener } from '../tunnel/pipe-listener.ts';
import type { RunPlan } from './plan.ts';
import type { SlowRule } from './slow-watch.ts';

/** What is new at the parent, every signature checked. */
export type VerifiedCatalogue = {
  readonly epoch: number;
  readonly generation: number;
  readonly objects: readonly Envelope[];
  /** What tells this generation from another of the same number; undefined when the parent tells none. */
  readonly mark?: string | undefined;
};

/**
 * Where the catalogue comes from. Pull replication asks the parent over TLS; a shared database reads its own tables.
 * Errors name what is wrong: `unreachable`, `denied`, `revoked`, `version_mismatch`, `bad_signature`, `expired`.
 */
export type CatalogueSource = {
  /** Whether the parent answers; the answer is kept for the next `read`. */
  reach(): Promise<void>;
  /** Verified against the signers we trust and what we hold. */
  read(): Promise<VerifiedCatalogue>;
};

/** What is asked for: manifests on top of others, or (`wantChunks` not empty) single chunks of the wanted ones. */
export type ArchiveWish = Pick<RunPlan, 'have' | 'want' | 'wantChunks' | 'isPlain'>;

/** `credit`: how many octets may be under way before our first CREDIT; absent: the window. */
export type TunnelWish = { readonly credit?: number };

/** Where content comes from: the parent, in both modes, and further servers after it. */
export type ContentSource = {
  requestArchive(request: ArchiveWish): Promise<ArchivePlan>;
  /** An upgraded connection to the rsync daemon over this archive's parts. Throws `not_found` when the archive is gone. */
  openTunnel(archiveKey: string, wish?: TunnelWish): Promise<{ readonly link: Duplex; readonly head: Buffer }>;
  /** Whether the server that gives now keeps to `TunnelWish.credit`: known when it has opened a tunnel. Absent: it does not. */
  keepsCredit?(): boolean;
  /** From now on the next server gives, in place of one that failed so; false when there is none, or another would not help. */
  turn?(why: AppError): Promise<boolean>;
  /** What the server that gives now is known to manage; undefined when nobody knows, or nobody comes after it. */
  expected?(): { readonly name: string; readonly bytesPerSecond: number } | undefined;
};

/** What a run writes down; every update repeats run, state and fencing number and throws `run_in_progress` when they were lost. */
export type RunRecords = {
  save(change: RunChange): Promise<void>;
  /** Manifests that are to be complete here: of these new objects, and of all we know, those that we want the content of. */
  wantedManifests(objects: readonly Envelope[]): Promise<readonly Digest[]>;
  /** For each image that these manifests are the content of, others that may be here and on which an archive of it may build, best first. */
  relatedManifests(wanted: readonly Digest[], objects: readonly Envelope[]): Promise<readonly (readonly Digest[])[]>;
  /** One transaction: objects and images visible, the generation held, the run in its last state. */
  publish(catalogue: VerifiedCatalogue): Promise<void>;
  /** The same without a word from the parent: what is complete becomes visible, the run is `partial`. */
  publishWithoutParent?(catalogue: VerifiedCatalogue | null, why: AppError): Promise<void>;
  /** The newest catalogue that a run accepted and none has published. */
  acceptedCatalogue?(): Promise<VerifiedCatalogue | null>;
};

export type RunChange = {
  readonly state?: RunState;
  readonly plan?: RunPlan;
  readonly generation?: number;
  readonly epoch?: number;
  readonly bytesNeeded?: number;
  readonly progress?: Progress | null;
  /** Of a run that goes on: what it waits for (a full disk, a link that broke). */
  readonly error?: AppError;
};

/** Everything a run works with. */
export type RunTools = {
  readonly catalogue: CatalogueSource;
  readonly content: ContentSource;
  readonly records: RunRecords;
  readonly store: ContentStore;
  readonly pipes: PipeListener;
  /** DIR/store/incoming. */
  readonly incoming: string;
  readonly freeBytes: () => Promise<number>;
  /** How many bytes must stay free whatever happens. */
  readonly reserveBytes: number;
  /** Throws `disk_full`, naming the site's quota, unless so many more octets of packs are within it. */
  readonly requireQuota: (bytes: number) => Promise<void>;
  /** When who gives content counts as slow; absent: never. */
  readonly slow?: SlowRule;
  /** Counts payload that rsync carried. */
  readonly onRsyncBytes: (bytes: number) => void;
  readonly monotonicMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /**
   * Waits a while for space after the n-th failure in a row; false: nobody waits here, the run stays unfinished. Absent: a full
   * disk is a failure as any other.
   */
  readonly waitForSpace?: (failures: number) => Promise<boolean>;
  readonly signal: AbortSignal;
  /** How often an unreachable parent is tried before the run gives up. */
  readonly patience: number;
};
