import type { Duplex } from 'node:stream';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { capAt } from '../../core/schedule/caps.ts';
import { encodeFrame } from '../../sync/tunnel/frames.ts';
import { onceClosed } from '../../sync/tunnel/once-closed.ts';
import { getLink } from '../db/links.ts';
import { zoneOf } from '../schedule/cron.ts';
import { SCHEDULES } from '../schedule/topic.ts';
import type { Site } from '../site.ts';

const LOOK_AGAIN_MS = 5_000;

/** The cap of a link now, in kbit/s as it travels (0: none), and for how many ms at most it is to be believed. */
type CurrentCap = {
  readonly linkId: Id;
  readonly kbps: number;
  readonly holdsMs: number;
  /** Whether the link has a cap at any time of day. */
  readonly isEverCapped: boolean;
  /** For the request that opens the tunnel; a parent that knows no caps ignores it. */
  readonly query: Readonly<Record<string, string>>;
};

export async function currentCap(site: Site, linkId: Id): Promise<CurrentCap> {
  const link = await getLink(site.db, linkId);
  const caps = link?.caps ?? { bps: null, office: null };
  const now = site.now();
  const { bps, until } = capAt(caps, zoneOf(link?.timezone ?? 'UTC'), now);
  const kbps = bps === null ? 0 : Math.ceil(bps / 1000);
  const isEverCapped = caps.bps !== null || (caps.office?.bps ?? null) !== null;
  const holdsMs = Math.min(LOOK_AGAIN_MS, Math.max(1, (until ?? Number.POSITIVE_INFINITY) - now));
  return { linkId, kbps, holdsMs, isEverCapped, query: isEverCapped ? { cap: String(kbps) } : {} };
}

/**
 * Tells the parent when the cap changes (office hours begin, somebody sets another one) for as long as the tunnel
 * lives. Each frame is one write, so it comes between two of the tunnel's own. Throws `version_mismatch` for a parent
 * that would not keep the cap, and closes the tunnel.
 */
export function tellCaps(site: Site, { cap, socket, abilities }: { cap: CurrentCap; socket: Duplex; abilities: readonly string[] }): void {
  if (!abilities.includes('caps')) {
    if (!cap.isEverCapped) return;
    socket.destroy();
    throw new AppError('version_mismatch', 'the parent is of a release that keeps no caps, and this link has one', {
      hint: 'upgrade the parent, or replicate without: waystation sync cap off',
    });
  }
  const closed = new AbortController();
  onceClosed(socket, () => closed.abort());
  const watch = async () => {
    for (let told = cap; !closed.signal.aborted; ) {
      await site.wake.wait(SCHEDULES, told.holdsMs, closed.signal);
      const next = await currentCap(site, cap.linkId);
      if (next.kbps !== told.kbps && socket.writable) socket.write(encodeFrame({ type: 'cap', kbps: next.kbps }));
      told = next;
    }
  };
  // The tunnel goes on at the cap that was told; the run finds out by itself what is wrong with the database.
  watch().catch((error) => site.log.warn('a change of the cap was not told', { error: String(error) }));
}
