import type { Id } from '../../core/ids.ts';
import type { ToldSync } from '../../core/sync-alarm.ts';
import type { ServerStatus } from '../control/servers-below.ts';

/** What it told of its last run from `parent` (any parent when that is left out). */
export function toldSync(status: ServerStatus | undefined, parent: Id | undefined): ToldSync | null {
  const link = status?.report.link;
  if (status === undefined || link?.lastRunAt == null || (parent !== undefined && link.parentId !== parent)) return null;
  return { reportedAt: status.at, saidAt: Date.parse(status.report.at), lastRunAt: Date.parse(link.lastRunAt) };
}
