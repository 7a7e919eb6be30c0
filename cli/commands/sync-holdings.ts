import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import { printable } from '../../core/ids.ts';
import type { HoldingView } from '../../server/holdings/view.ts';
import type { Frame } from '../frame.ts';
import { formatBytes, table } from '../output.ts';

type Alarm = { readonly since: string; readonly words: string } | null;
type ChildImage = {
  readonly reference: string;
  readonly state: string;
  readonly missingBytes?: number;
  readonly role?: HoldingView['role'];
  readonly choice?: HoldingView['choice'];
  readonly verifiedAt?: string;
  readonly error?: string;
  readonly wanted?: boolean;
};
type Child = {
  readonly server: string;
  readonly id: string;
  readonly via: string | null;
  readonly ring: number | null;
  readonly syncedAt: string | null;
  readonly trouble: string | null;
  readonly unheard: number | null;
  readonly images: readonly ChildImage[] | null;
};

/** The answer of /api/v1/holdings. */
export type Holdings = { readonly items: readonly HoldingView[]; readonly alarm: Alarm; readonly children: readonly Child[] };

/** `waystation sync sites [SITE]`: how the sites below this server stand, or one of them image by image. */
export function registerSites(sync: Command, frame: Frame): void {
  sync
    .command('sites [site]')
    .description('the sites below this server: when they synced, what they lack; with a name or id one of them, image by image')
    .action((site: string | undefined) => sites(frame, site));
}

async function sites(frame: Frame, wanted: string | undefined): Promise<void> {
  const { items, children } = await (await frame.connect()).get<Holdings>('/api/v1/holdings');
  if (wanted !== undefined) return site(frame, siteCalled(children, wanted), items);
  frame.print({ items: children, next: null } as unknown as Json, () =>
    children.length === 0
      ? 'no site replicates from here'
      : table(['SITE', 'VIA', 'RING', 'IN SYNC', 'IMAGES HELD', 'LACKING', 'TROUBLE'], children.map(childRow)),
  );
}

function siteCalled(children: readonly Child[], wanted: string): Child {
  const found = children.find(({ server, id }) => server === wanted || id === wanted);
  if (found !== undefined) return found;
  throw new AppError('not_found', `no site "${printable(wanted)}" replicates from here`, { hint: 'see "sync sites"' });
}

function childRow({ server, via, ring, syncedAt, trouble, unheard, images }: Child): (string | number | null)[] {
  const lacking = images?.reduce((sum, { missingBytes }) => sum + (missingBytes ?? 0), 0) ?? null;
  return [server, via, ring, syncedAt ?? 'never', heldText(images, unheard ?? 0), lacking === null ? null : formatBytes(lacking), trouble];
}

/** Of how many: what the site wants by its own word, and what was published here since it asked last. */
function heldText(images: Child['images'], unheard: number): string | null {
  if (images === null) return null;
  const held = images.filter(({ state }) => state === 'published').length;
  return `${held} of ${images.filter(({ wanted, state }) => wanted !== false || state === 'published').length + unheard}`;
}

function site(frame: Frame, child: Child, ours: readonly HoldingView[]): void {
  const told = new Set(child.images?.map(({ reference }) => reference));
  const unheard = ours.filter(({ image, state }) => state === 'published' && !told.has(image)).map(({ image }) => image);
  frame.print({ ...child, unheard } as unknown as Json, () => {
    const rows = (child.images ?? []).map((one) => [
      ...[one.reference, one.state, toldUse(one)],
      ...[one.verifiedAt ?? null, formatBytes(one.missingBytes ?? 0), one.error ?? null],
    ]);
    const news = unheard.map((image) => [image, 'not asked for yet', '-', null, null, null]);
    const head = [`in sync: ${child.syncedAt ?? 'never'}`, ...(child.trouble === null ? [] : [`trouble: ${child.trouble}`])];
    const lines = [...news, ...rows];
    return [...head, lines.length === 0 ? 'no images' : table(HOLDING_COLUMNS, lines)].join('\n');
  });
}

/** A report says no time for which a version waits, and no role of what is older than the one before. */
function toldUse({ role, choice, state, wanted }: ChildImage): string {
  if (role === 'waiting') return 'waits';
  if (role === undefined && choice === undefined && state === 'published') return 'older';
  return useOf({ role: role ?? null, choice: choice ?? null, activatesAt: null, wanted: wanted !== false });
}

export function alarmText(alarm: Alarm): string {
  return alarm === null ? '' : `NOT SYNCED: ${alarm.words}`;
}

/** The images of this site, one line each. */
export function holdingsText(images: readonly HoldingView[]): string {
  if (images.length === 0) return 'no images';
  const rows = images.map((one) => [one.image, one.state, useOf(one), one.verifiedAt, missingOf(one), one.error?.message ?? null]);
  return table(HOLDING_COLUMNS, rows);
}

const HOLDING_COLUMNS = ['IMAGE', 'STATE', 'USE', 'VERIFIED', 'MISSING', 'LAST ERROR'];

/** What a version is for at its site. */
export type VersionUse = Pick<HoldingView, 'role' | 'choice' | 'activatesAt' | 'wanted'>;

export function useOf({ role, choice, activatesAt, wanted }: VersionUse): string {
  if (role === 'waiting') return activatesAt === null ? 'waits for its ring' : `waits for ${activatesAt}`;
  const then = activatesAt === null ? '' : `, active from ${activatesAt}`;
  if (role === null) return `${choice ?? (wanted ? 'wanted' : 'out of scope')}${then}`;
  return `${role}${choice === null ? '' : ` (${choice})`}${then}`;
}

function missingOf({ bytesMissing }: HoldingView): string {
  return bytesMissing === null ? '-' : formatBytes(bytesMissing);
}
