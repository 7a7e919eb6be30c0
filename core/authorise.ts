import type { Id } from './ids.ts';

/** Who is asking, as the edge established it. A source address is never an identity. */
export type Identity =
  | { readonly kind: 'anonymous' }
  /** Whoever can open DIR/run/api.sock (mode 0600) or run under DIR/lock. */
  | { readonly kind: 'local-admin' }
  | { readonly kind: 'operator'; readonly tokenId: Id; readonly role: OperatorRole }
  /** A server whose client certificate we issued and have not revoked. */
  | { readonly kind: 'server'; readonly serverId: Id; readonly isContentOnly?: boolean }
  /** The holder of a self-made key that said hello for a boot id of this target. */
  | { readonly kind: 'agent'; readonly targetId: Id; readonly keyId: string };

export const OPERATOR_ROLES = ['administrator', 'operator', 'viewer'] as const;
export type OperatorRole = (typeof OPERATOR_ROLES)[number];

/** What may be asked. Every route, upgrade and agent call names exactly one. */
export const ACTIONS = [
  'health.read',
  'console.read',
  'session.create',
  'session.use',
  'boot.read',
  'first-boot.report',
  'server.enrol',
  'agent.hello',
  'agent.work',
  'content.read',
  'sync.catalogue',
  'sync.archive',
  'sync.tunnel',
  'sync.report',
  'sync.renew',
  'control.report',
  'control.pull',
  'server.read',
  'server.write',
  'token.create',
  'operator-token.read',
  'operator-token.write',
  'image.read',
  'image.write',
  'document.read',
  'document.write',
  'target.read',
  'target.write',
  'order.read',
  'order.write',
  'link.read',
  'link.write',
  'store.read',
  'store.write',
  'log.read',
  'metrics.read',
] as const;
export type Action = (typeof ACTIONS)[number];

/**
 * What it is asked of. `ownerId` is the target or server that the object belongs to, where one does; `viaId` the child of ours
 * behind which that server stands.
 */
export type AuthObject = { readonly ownerId?: Id; readonly viaId?: Id };

const OPEN: readonly Action[] = [
  'health.read',
  'console.read',
  'session.create',
  'boot.read',
  'first-boot.report',
  'server.enrol',
  'agent.hello',
];
const AGENT: readonly Action[] = ['agent.work', 'content.read'];
const SERVER: readonly Action[] = [
  'sync.catalogue',
  'sync.archive',
  'sync.tunnel',
  'sync.report',
  'sync.renew',
  'control.report',
  'control.pull',
];
/** Of a server that takes content from us and is no child. */
const CONTENT_ONLY: readonly Action[] = ['sync.archive', 'sync.tunnel', 'sync.renew'];
const VIEWER: readonly Action[] = [
  'session.use',
  'server.read',
  'image.read',
  'document.read',
  'target.read',
  'order.read',
  'link.read',
  'store.read',
  'metrics.read',
];
const OPERATOR: readonly Action[] = [...VIEWER, 'target.write', 'order.write', 'log.read'];
const ADMINISTRATOR: readonly Action[] = [
  ...OPERATOR,
  'server.write',
  'token.create',
  'operator-token.read',
  'operator-token.write',
  'image.write',
  'document.write',
  'link.write',
  'store.write',
];
const BY_ROLE: { readonly [Role in OperatorRole]: readonly Action[] } = {
  viewer: VIEWER,
  operator: OPERATOR,
  administrator: ADMINISTRATOR,
};

/**
 * The one place that says yes. Deny by default: what no line below allows is refused. An agent acts
 * only on what belongs to its own target, a server only on what belongs to itself or to servers behind it.
 */
export function authorise(identity: Identity, action: Action, object: AuthObject = {}): boolean {
  if (OPEN.includes(action)) return true;
  switch (identity.kind) {
    case 'anonymous':
      return false;
    case 'local-admin':
      return ADMINISTRATOR.includes(action);
    case 'operator':
      return BY_ROLE[identity.role].includes(action);
    case 'server':
      return (
        (identity.isContentOnly ? CONTENT_ONLY : SERVER).includes(action) &&
        (isOwn(identity.serverId, object) || object.viaId === identity.serverId)
      );
    case 'agent':
      return AGENT.includes(action) && isOwn(identity.targetId, object);
  }
}

function isOwn(selfId: Id, object: AuthObject): boolean {
  return object.ownerId === undefined || object.ownerId === selfId;
}
