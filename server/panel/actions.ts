import type { TreeServer } from '../../core/server-tree.ts';
import type { TreeFacts } from './facts.ts';
import type { Place } from './places.ts';

/** Who asks, as far as it decides what is offered; what is then asked for is authorised by its own route. */
export type Rights = {
  readonly mayReplicate: boolean;
  readonly mayWriteServers: boolean;
  readonly mayMakeArchives: boolean;
  readonly mayLoad: boolean;
};

type Offer = { readonly rights: Rights; readonly standing: Pick<TreeServer, 'state' | 'parentFile'> };

/** What is offered for a server. */
export function actionsOf(place: Place, facts: TreeFacts, { rights, standing }: Offer): TreeServer['can'] {
  const { relation, known, summary, id } = place;
  const can: TreeServer['can'] = [];
  if (standing.state !== 'active' && relation !== 'self') return can;
  const isBelow = (relation === 'child' && known?.state === 'active' && !known.isContentOnly) || relation === 'behind';
  const hasLink = relation === 'self' && facts.link !== undefined;
  if (rights.mayReplicate && (hasLink || isBelow)) can.push('replicate');
  const isPaused = relation === 'child' ? facts.pauses.get(id) != null : summary?.link?.paused != null;
  const mayPause = relation === 'child' ? rights.mayWriteServers && isBelow : rights.mayReplicate && hasLink;
  if (mayPause) can.push(isPaused ? 'resume' : 'pause');
  if (rights.mayMakeArchives && (isBelow || relation === 'self')) can.push('archive');
  if (rights.mayLoad && relation === 'self') can.push('load');
  if (rights.mayWriteServers && canHaveParent(place, facts, standing)) can.push('parent');
  else if (rights.mayWriteServers && relation === 'self' && facts.link === undefined && standing.parentFile === null) can.push('join');
  return can;
}

/** A parent is wished for servers that meet in the database, unless a file says it. */
function canHaveParent({ relation, peer }: Place, { isMeeting }: TreeFacts, { state, parentFile }: Offer['standing']): boolean {
  return isMeeting && state === 'active' && parentFile === null && (relation === 'self' || peer?.state === 'active');
}
