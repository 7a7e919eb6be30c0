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

/** What is offered for a server. */
export function actionsOf({ relation, known, summary, id }: Place, facts: TreeFacts, rights: Rights): TreeServer['can'] {
  const can: TreeServer['can'] = [];
  const isBelow = (relation === 'child' && known?.state === 'active' && !known.isContentOnly) || relation === 'behind';
  const hasLink = relation === 'self' && facts.link !== undefined;
  if (rights.mayReplicate && (hasLink || isBelow)) can.push('replicate');
  const isPaused = relation === 'child' ? facts.pauses.get(id) != null : summary?.link?.paused != null;
  const mayPause = relation === 'child' ? rights.mayWriteServers && isBelow : rights.mayReplicate && hasLink;
  if (mayPause) can.push(isPaused ? 'resume' : 'pause');
  if (rights.mayMakeArchives && (isBelow || relation === 'self')) can.push('archive');
  if (rights.mayLoad && relation === 'self') can.push('load');
  if (rights.mayWriteServers && facts.isMeeting && (isBelow || relation === 'self')) can.push('parent');
  else if (rights.mayWriteServers && relation === 'self' && facts.link === undefined) can.push('join');
  return can;
}
