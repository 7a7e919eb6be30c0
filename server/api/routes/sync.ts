import { z } from 'zod';
import type { Identity } from '../../../core/authorise.ts';
import { AppError } from '../../../core/errors.ts';
import type { Id } from '../../../core/ids.ts';
import { commonProtocol, OUR_PROTOCOLS, type Spoken } from '../../../core/negotiate.ts';
import { ArchivePlan, ArchiveRequest, Catalogue, News } from '../../../core/sync-protocol.ts';
import { WINDOW_BYTES } from '../../../sync/tunnel/frames.ts';
import { answerCatalogue } from '../../catalogue.ts';
import { getCatalogueNumbers } from '../../db/objects.ts';
import { noteChildAsked } from '../../db/servers.ts';
import { offerArchive, takeArchive } from '../../replication/archive-shelf.ts';
import { refusePausedChild } from '../../replication/egress.ts';
import { TUNNEL_PROTOCOL } from '../../replication/parent-client.ts';
import { serveTunnel } from '../../replication/serve-tunnel.ts';
import { waitForNews } from '../../replication/wait-for-news.ts';
import { type Route, type RouteContext, route } from '../route.ts';
import type { UpgradeRoute } from '../upgrade.ts';

const number = z.coerce.number().int().nonnegative();
const CatalogueQuery = z.object({
  protocol: number,
  newest: number.optional(),
  epoch: number,
  since: number,
  signer: z.string().max(64).optional(),
});
const WaitQuery = CatalogueQuery.extend({ settled: z.enum(['true', 'false']).default('false'), seconds: number.max(50).default(25) });

/** What children ask of us as their parent (core/sync-protocol.ts). */
export const SYNC_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/sync/catalogue',
    listener: 'api',
    action: 'sync.catalogue',
    summary: 'The signed objects numbered above a generation.',
    input: CatalogueQuery,
    output: Catalogue,
    handle: async (context, { protocol: oldest, newest = oldest, epoch, since, signer }) => {
      const protocol = chooseProtocol({ oldest, newest });
      await greet(context, { epoch, since });
      return answerCatalogue(context.site, { protocol, epoch, since, signer }, callerOf(context));
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/sync/wait',
    listener: 'api',
    action: 'sync.catalogue',
    summary: 'Answers when the catalogue is past a generation, or after a time.',
    input: WaitQuery,
    output: News,
    handle: async ({ site, signal }, { protocol: oldest, newest = oldest, epoch, since, settled, seconds }) => {
      chooseProtocol({ oldest, newest });
      return waitForNews(site, { epoch, since, settled: settled === 'true', timeoutMs: seconds * 1000 }, signal);
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/sync/archives',
    listener: 'api',
    action: 'sync.archive',
    summary: 'Builds, or finds, the archive that turns one set of manifests into another.',
    input: ArchiveRequest,
    output: ArchivePlan,
    handle: async ({ site, identity }, request) => {
      chooseProtocol({ oldest: request.protocol, newest: request.protocol });
      await refusePausedChild(site, serverOf(identity));
      return offerArchive(site, request, serverOf(identity));
    },
  }),
];

/** rsync's daemon protocol over the parts of one archive. */
export const TUNNEL_UPGRADE: UpgradeRoute = {
  path: '/api/v1/sync/tunnel',
  protocol: TUNNEL_PROTOCOL,
  action: 'sync.tunnel',
  check: async ({ site, query, identity }) => {
    readCap(query);
    readCredit(query);
    await refusePausedChild(site, serverOf(identity));
    await takeArchive(site, query['archive'] ?? '');
  },
  handle: async ({ site, query, identity }, socket, head) => {
    const archive = await takeArchive(site, query['archive'] ?? '');
    await serveTunnel(site, { archive, socket, head, childId: serverOf(identity), bps: readCap(query), ...readCredit(query) });
  },
};

/** Whose catalogue request this is, and what it says of the child's last run. */
async function greet(context: RouteContext, held: { epoch: number; since: number }): Promise<void> {
  const { site } = context;
  const child = callerOf(context);
  if (child === undefined) return;
  const told = await getCatalogueNumbers(site.db);
  await noteChildAsked(site.db, child, { held: { epoch: held.epoch, generation: held.since }, told, now: site.now() });
}

function callerOf({ identity }: RouteContext): Id | undefined {
  return identity.kind === 'server' ? identity.serverId : undefined;
}

/** The cap that the child wants its tunnel to begin with, kbit/s in the query; none: as fast as it goes. Throws `usage`. */
function readCap({ cap: text }: Readonly<Record<string, string>>): number | null {
  if (text === undefined) return null;
  const parsed = number.max(2 ** 32 - 1).safeParse(text);
  if (!parsed.success) throw new AppError('usage', 'the cap of a tunnel is a whole number of kbit/s');
  return parsed.data === 0 ? null : parsed.data * 1000;
}

/** With how many octets of credit the child lets us begin; none: the window. Throws `usage`. */
function readCredit({ credit: text }: Readonly<Record<string, string>>): { readonly credit?: number } {
  if (text === undefined) return {};
  const parsed = number.min(1).max(WINDOW_BYTES).safeParse(text);
  if (!parsed.success) throw new AppError('usage', `the credit of a tunnel is a whole number from 1 to ${WINDOW_BYTES}`);
  return { credit: parsed.data };
}

function serverOf(identity: Identity): Id {
  if (identity.kind === 'server') return identity.serverId;
  throw new AppError('not_permitted', 'only children of this server get its content');
}

/** The protocol to answer in. Throws `version_mismatch` when the child speaks none of ours. */
function chooseProtocol(theirs: Spoken): number {
  const protocol = commonProtocol(OUR_PROTOCOLS, theirs);
  if (protocol !== undefined) return protocol;
  throw new AppError('version_mismatch', `the child speaks protocol ${range(theirs)}, this server ${range(OUR_PROTOCOLS)}`, {
    hint: 'upgrade the older of the two servers',
  });
}

function range({ oldest, newest }: Spoken): string {
  return oldest === newest ? String(oldest) : `${oldest} to ${newest}`;
}
