import type { RingRelease } from './image.ts';

/*
 * Which version of a name is the default at a site. A version that is held completely stands in one of two states:
 *
 *   waiting   verified, not visible: its time has not come, or its ring is not released. Orders cannot name it
 *   visible   may be ordered; entered once (published, activated), left only by being deleted or released from the scope
 *
 * Becoming visible is its activation. Activations of a name are counted, not timed: a clock that jumps changes nothing that
 * was decided. The visible version with the highest count is the default, unless an operator chose:
 *
 *   pinned        that version and no other, until it is unpinned; when it is deleted at its origin there is no default
 *   rolled-back   that version until the next activation of the name (or unpin)
 */
export type ChoiceMode = 'pinned' | 'rolled-back';

/** An operator's choice for a name. */
export type Choice = { readonly mode: ChoiceMode; readonly imageId: string };

/** A version that is published here. */
export type Version = {
  readonly id: string;
  readonly waiting: boolean;
  readonly activation: number;
  readonly createdAt: number;
};

/** What a site says of a version that it holds. */
export type VersionRole = 'active' | 'previous' | 'older' | 'waiting';

/** The version that the name alone stands for; undefined when nothing is visible, or the pinned one is gone. */
export function defaultVersion<Held extends Version>(versions: readonly Held[], choice: Choice | undefined): Held | undefined {
  const visible = inOrder(versions);
  const chosen = visible.find(({ id }) => id === choice?.imageId);
  if (chosen !== undefined || choice?.mode === 'pinned') return chosen;
  return visible[0];
}

/** The version that was the default before the one that is now: what a rollback leads to, and what is always kept. */
export function previousVersion<Held extends Version>(versions: readonly Held[], choice: Choice | undefined): Held | undefined {
  const current = defaultVersion(versions, choice);
  const visible = inOrder(versions);
  return current === undefined ? visible[0] : visible[visible.indexOf(current) + 1];
}

export function roleOf(version: Version, versions: readonly Version[], choice: Choice | undefined): VersionRole {
  if (version.waiting) return 'waiting';
  if (defaultVersion(versions, choice)?.id === version.id) return 'active';
  return previousVersion(versions, choice)?.id === version.id ? 'previous' : 'older';
}

/**
 * The count with which a version becomes visible by itself: one more than the highest, so that it is the default. 0 for one
 * that was made before a version that is visible already: it arrived late and is held beside it.
 */
export function nextActivation(version: Version, others: readonly Version[]): number {
  const visible = others.filter(({ id, waiting }) => id !== version.id && !waiting);
  const isNewest = visible.every((other) => isNewer(version, other));
  return isNewest ? topActivation(visible) + 1 : 0;
}

/** The highest count that was given. */
export function topActivation(versions: readonly Version[]): number {
  return Math.max(0, ...versions.map(({ activation }) => activation));
}

/** When something may become visible, by its object and by this site. */
export type Gates = {
  readonly activateAt?: number | undefined;
  readonly rings?: readonly RingRelease[] | undefined;
  /** Set at this site, in place of all the rest. */
  readonly siteActivateAt: number | null;
};

/**
 * Epoch ms from which a version may be visible (0: at once); null while it is not released to the site's ring.
 * `ring` null is a site without a number: it comes last; `undefined` one that rings do not bind (the origin itself).
 */
export function opensAt(gates: Gates, ring: number | null | undefined): number | null {
  if (gates.siteActivateAt !== null) return gates.siteActivateAt;
  const released = releasedAt(gates.rings, ring);
  return released === null ? null : Math.max(released, gates.activateAt ?? 0);
}

function releasedAt(rings: readonly RingRelease[] | undefined, ring: number | null | undefined): number | null {
  if (rings === undefined || ring === undefined) return 0;
  const times = rings.filter((release) => release.ring === null || (ring !== null && ring <= release.ring)).map(({ at }) => at);
  return times.length === 0 ? null : Math.min(...times);
}

function inOrder<Held extends Version>(versions: readonly Held[]): Held[] {
  return versions.filter(({ waiting }) => !waiting).sort((a, b) => b.activation - a.activation || (isNewer(a, b) ? -1 : 1));
}

function isNewer(a: Version, b: Version): boolean {
  return a.createdAt === b.createdAt ? a.id > b.id : a.createdAt > b.createdAt;
}
