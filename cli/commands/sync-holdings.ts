import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import type { HoldingView } from '../../server/holdings/view.ts';
import type { Frame } from '../frame.ts';
import { formatBytes, table } from '../output.ts';

type Alarm = { readonly since: string; readonly words: string } | null;
type Child = {
  readonly server: string;
  readonly ring: number | null;
  readonly syncedAt: string | null;
  readonly alarm: Alarm;
  readonly images: readonly { readonly state?: string; readonly missingBytes?: number; readonly error?: string }[] | null;
};

/** The answer of /api/v1/holdings. */
export type Holdings = { readonly items: readonly HoldingView[]; readonly alarm: Alarm; readonly children: readonly Child[] };

/** `waystation sync sites`: how the children of this server stand. */
export function registerSites(sync: Command, frame: Frame): void {
  sync
    .command('sites')
    .description('the sites below this server: when they synced, what they lack')
    .action(() => sites(frame));
}

async function sites(frame: Frame): Promise<void> {
  const { children } = await (await frame.connect()).get<Holdings>('/api/v1/holdings');
  frame.print({ items: children, next: null } as unknown as Json, () =>
    children.length === 0
      ? 'no site replicates from here'
      : table(['SITE', 'RING', 'IN SYNC', 'IMAGES HELD', 'LACKING', 'TROUBLE'], children.map(childRow)),
  );
}

function childRow({ server, ring, syncedAt, alarm, images }: Child): (string | number | null)[] {
  const held = images?.filter(({ state }) => state === 'published').length ?? null;
  const lacking = images?.reduce((sum, { missingBytes }) => sum + (missingBytes ?? 0), 0) ?? null;
  const trouble = alarm?.words ?? images?.find(({ error }) => error !== undefined)?.error ?? null;
  return [server, ring, syncedAt ?? 'never', held, lacking === null ? null : formatBytes(lacking), trouble];
}

export function alarmText(alarm: Alarm): string {
  return alarm === null ? '' : `NOT SYNCED: ${alarm.words}`;
}

/** The images of this site, one line each. */
export function holdingsText(images: readonly HoldingView[]): string {
  if (images.length === 0) return 'no images';
  const rows = images.map((one) => [one.image, one.state, useOf(one), one.verifiedAt, missingOf(one), one.error?.message ?? null]);
  return table(['IMAGE', 'STATE', 'USE', 'VERIFIED', 'MISSING', 'LAST ERROR'], rows);
}

function useOf({ role, choice, activatesAt, wanted }: HoldingView): string {
  if (role === 'waiting') return activatesAt === null ? 'waits for its ring' : `waits for ${activatesAt}`;
  const then = activatesAt === null ? '' : `, active from ${activatesAt}`;
  if (role === null) return `${wanted ? 'wanted' : 'out of scope'}${then}`;
  return `${role}${choice === null ? '' : ` (${choice})`}${then}`;
}

function missingOf({ bytesMissing }: HoldingView): string {
  return bytesMissing === null ? '-' : formatBytes(bytesMissing);
}
