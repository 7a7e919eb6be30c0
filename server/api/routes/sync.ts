import { z } from 'zod';
import { AppError } from '../../../core/errors.ts';
import { ArchivePlan, ArchiveRequest, Catalogue, SYNC_PROTOCOL } from '../../../core/sync-protocol.ts';
import { answerCatalogue } from '../../catalogue.ts';
import { touchServer } from '../../db/servers.ts';
import { offerArchive, takeArchive } from '../../replication/archive-shelf.ts';
import { TUNNEL_PROTOCOL } from '../../replication/parent-client.ts';
import { serveTunnel } from '../../replication/serve-tunnel.ts';
import { type Route, type RouteContext, route } from '../route.ts';
import type { UpgradeRoute } from '../upgrade.ts';

const number = z.coerce.number().int().nonnegative();
const CatalogueQuery = z.object({ protocol: number, epoch: number, since: number });

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
    handle: async (context, { protocol, epoch, since }) => {
      checkProtocol(protocol);
      await greet(context);
      return answerCatalogue(context.site, { epoch, since });
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
    handle: async ({ site }, request) => {
      checkProtocol(request.protocol);
      return offerArchive(site, request);
    },
  }),
];

/** rsync's daemon protocol over the parts of one archive. */
export const TUNNEL_UPGRADE: UpgradeRoute = {
  path: '/api/v1/sync/tunnel',
  protocol: TUNNEL_PROTOCOL,
  action: 'sync.tunnel',
  check: async ({ site, query }) => {
    await takeArchive(site, query['archive'] ?? '');
  },
  handle: async ({ site, query }, socket, head) => {
    const archive = await takeArchive(site, query['archive'] ?? '');
    await serveTunnel(site, { archive, socket, head });
  },
};

async function greet({ site, identity }: RouteContext): Promise<void> {
  if (identity.kind === 'server') await touchServer(site.db, identity.serverId, site.now());
}

function checkProtocol(protocol: number): void {
  if (protocol === SYNC_PROTOCOL) return;
  throw new AppError('version_mismatch', `the child speaks protocol ${protocol}, this server protocol ${SYNC_PROTOCOL}`, {
    hint: 'upgrade the older of the two servers',
  });
}
