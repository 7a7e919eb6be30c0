import type { Identity } from '../../core/authorise.ts';
import type { Id } from '../../core/ids.ts';

/** Who did it, as events and the request log say it: `operator:<id>`, `server:<id>`, `agent:<target id>`, `local-admin`, `anonymous`. */
export function actorOf(identity: Identity): string {
  switch (identity.kind) {
    case 'operator':
      return `operator:${identity.tokenId}`;
    case 'server':
      return `server:${identity.serverId}`;
    case 'agent':
      return `agent:${identity.targetId}`;
    case 'anonymous':
    case 'local-admin':
      return identity.kind;
  }
}

/** The server that calls a route which is open to servers alone. */
export function callerOf({ identity }: { readonly identity: Identity }): Id {
  if (identity.kind !== 'server') throw new Error('authorise let somebody else than a server in');
  return identity.serverId;
}
