import { z } from 'zod';
import { HEALTH_LEVELS } from './server-health.ts';
import { SERVER_ROLES } from './server-role.ts';
import { SERVER_STATES } from './server-state.ts';

const isoTime = z.iso.datetime();

/** What may be asked for a server, by who asks. A reader leaves out what it does not know. */
export const SERVER_ACTIONS = ['replicate', 'pause', 'resume', 'archive', 'load', 'join', 'parent'] as const;

const Run = z.object({
  state: z.string(),
  isEnded: z.boolean(),
  startedAt: isoTime.nullable(),
  endedAt: isoTime.nullable(),
  bytesNeeded: z.number().nullable(),
  bytesReceived: z.number().nullable(),
  progress: z
    .object({ stage: z.string(), doneBytes: z.number(), totalBytes: z.number(), percent: z.number(), etaSeconds: z.number().nullable() })
    .nullable(),
  error: z.string().nullable(),
});

/** One server as the console's list shows it. What it holds image by image is in GET /api/v1/servers/:server. */
export const TreeServer = z.object({
  id: z.string(),
  name: z.string(),
  /** `peer`: it meets this one in the shared database, and no link of ours leads to it. */
  relation: z.enum(['self', 'parent', 'child', 'behind', 'peer']),
  state: z.enum(SERVER_STATES),
  role: z.enum(SERVER_ROLES),
  /** In this list; null for the one at the top, and where it is not known. */
  parentId: z.string().nullable(),
  /** Its name, also of one that is not in this list. */
  parent: z.string().nullable(),
  /** The one that it is to have (shared database); null: none, or nobody wishes. */
  wishedParent: z.string().nullable(),
  /** The file that says who its parent is ("site apply"), in words; null: operators set it. */
  parentFile: z.string().nullable(),
  url: z.string().nullable(),
  version: z.string().nullable(),
  /** Takes content from here and is no child. */
  contentOnly: z.boolean(),
  health: z.object({
    level: z.enum(HEALTH_LEVELS),
    findings: z.array(z.object({ level: z.enum(HEALTH_LEVELS), words: z.string(), since: isoTime.nullable() })),
  }),
  /** Null: nobody can tell. */
  connected: z.boolean().nullable(),
  heardAt: isoTime.nullable(),
  heartbeatAt: isoTime.nullable(),
  heartbeatAgeSeconds: z.number().int().nullable(),
  /** Not heard for a minute by the shared database, or for eleven by reports. */
  silent: z.boolean(),
  reportedAt: isoTime.nullable(),
  syncedAt: isoTime.nullable(),
  nextRunAt: isoTime.nullable(),
  schedule: z.string().nullable(),
  /** A run starts whenever the parent has published. */
  afterParent: z.boolean(),
  paused: z.boolean(),
  run: Run.nullable(),
  images: z.object({ wanted: z.number(), held: z.number(), failing: z.number(), missingBytes: z.number() }).nullable(),
  disk: z.object({ freeBytes: z.number(), totalBytes: z.number() }).nullable(),
  /** Commands that it has not fetched yet. */
  waiting: z.number(),
  can: z.array(z.enum(SERVER_ACTIONS)),
});
export type TreeServer = z.infer<typeof TreeServer>;

/** This server, its parent, and all below it, as far as they reported. `at` is the clock of the server that answers. */
export const ServerTree = z.object({ at: isoTime, self: z.string(), items: z.array(TreeServer) });
export type ServerTree = z.infer<typeof ServerTree>;
