import type { Metrics } from '../metrics.ts';
import type { Route } from '../route.ts';
import type { UpgradeRoute } from '../upgrade.ts';
import { AGENT_ROUTES } from './agent.ts';
import { ARCHIVE_TRANSFER_ROUTES } from './archive-transfers.ts';
import { ARCHIVE_ROUTES } from './archives.ts';
import { BACKUP_ROUTES } from './backups.ts';
import { BOOT_ROUTES } from './boot.ts';
import { consoleRoutes } from './console.ts';
import { CONTROL_ROUTES, OFFER_UPGRADE } from './control.ts';
import { DEPUTY_ROUTES } from './deputy.ts';
import { DOCUMENT_ROUTES } from './documents.ts';
import { EGRESS_ROUTES } from './egress.ts';
import { ENGINE_ROUTES } from './engine.ts';
import { ENROL_ROUTES } from './enrol.ts';
import { FIRST_BOOT_ROUTES } from './first-boot.ts';
import { healthRoutes } from './health.ts';
import { HOLDING_ROUTES } from './holdings.ts';
import { IMAGE_ROUTES, STORE_ROUTES } from './images.ts';
import { LINK_ROUTES } from './links.ts';
import { LOG_ROUTES } from './logs.ts';
import { OFFER_ROUTES } from './offers.ts';
import { openApiRoute } from './openapi.ts';
import { OPERATION_ROUTES } from './operations.ts';
import { OPERATOR_TOKEN_ROUTES } from './operator-tokens.ts';
import { ORDER_ROUTES } from './orders.ts';
import { PROMOTION_ROUTES } from './promotion.ts';
import { SCOPE_ROUTES } from './scope.ts';
import { SERVER_ROUTES } from './servers.ts';
import { SESSION_ROUTES } from './session.ts';
import { SITE_ROUTES } from './site.ts';
import { SOURCE_ROUTES } from './sources.ts';
import { SYNC_ROUTES, TUNNEL_UPGRADE } from './sync.ts';
import { TARGET_ROUTES } from './targets.ts';
import { TOKEN_ROUTES } from './tokens.ts';
import { TREE_ROUTES } from './tree.ts';
import { VERSION_ROUTES } from './versions.ts';

/** Every route of the program, on every listener. A new list of routes gets its line here and nowhere else. */
export function allRoutes(metrics: Metrics): readonly Route[] {
  const routes: readonly Route[] = [
    ...healthRoutes(metrics),
    ...consoleRoutes(),
    ...SESSION_ROUTES,
    ...ENROL_ROUTES,
    ...SERVER_ROUTES,
    ...PROMOTION_ROUTES,
    ...DEPUTY_ROUTES,
    ...TREE_ROUTES,
    ...TOKEN_ROUTES,
    ...OPERATOR_TOKEN_ROUTES,
    ...IMAGE_ROUTES,
    ...ARCHIVE_ROUTES,
    ...BACKUP_ROUTES,
    ...ARCHIVE_TRANSFER_ROUTES,
    ...ENGINE_ROUTES,
    ...DOCUMENT_ROUTES,
    ...STORE_ROUTES,
    ...OPERATION_ROUTES,
    ...ORDER_ROUTES,
    ...AGENT_ROUTES,
    ...FIRST_BOOT_ROUTES,
    ...LOG_ROUTES,
    ...BOOT_ROUTES,
    ...TARGET_ROUTES,
    ...SYNC_ROUTES,
    ...LINK_ROUTES,
    ...EGRESS_ROUTES,
    ...CONTROL_ROUTES,
    ...OFFER_ROUTES,
    ...SCOPE_ROUTES,
    ...SITE_ROUTES,
    ...SOURCE_ROUTES,
    ...HOLDING_ROUTES,
    ...VERSION_ROUTES,
  ];
  return [...routes, openApiRoute(routes)];
}

/** Every protocol that a client may switch to. */
export const UPGRADES: readonly UpgradeRoute[] = [TUNNEL_UPGRADE, OFFER_UPGRADE];
