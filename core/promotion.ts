import type { Id } from './ids.ts';

/** A server of the registry, as far as a promotion looks at it. */
export type PromotionServer = {
  readonly id: Id;
  readonly name: string;
  readonly state: 'active' | 'retired' | 'fenced';
  /** The wished parent, and how often one was wished. */
  readonly parentId: Id | null;
  readonly parentRevision: number;
  readonly parentBy: 'operator' | 'file' | null;
  readonly parentFile: string | null;
  /** The parent that it reports. */
  readonly linkedTo: Id | null;
};

/** One server that gets another parent; `from` and `to` are names, null: none. */
export type MovedServer = {
  readonly id: Id;
  readonly toId: Id | null;
  readonly server: string;
  readonly from: string | null;
  readonly to: string | null;
  /** The file that said so until now, in words. */
  readonly managedBy: string | null;
};

/** The parent that counts: the wished one, and where nobody wished, the one it joined with a token. */
export function parentOf({ parentId, parentRevision, linkedTo }: PromotionServer): Id | null {
  return parentRevision > 0 ? parentId : linkedTo;
}

/** The servers above one, nearest first. Parents that nobody knows, and circles, end the way up. */
function allAbove<Server extends PromotionServer>(servers: readonly Server[], server: PromotionServer): Server[] {
  const byId = new Map(servers.map((one) => [one.id, one]));
  const found: Server[] = [];
  for (let id = parentOf(server); id !== null && id !== server.id; ) {
    const above = byId.get(id);
    if (above === undefined || found.includes(above)) break;
    found.push(above);
    id = parentOf(above);
  }
  return found;
}

/** The server at the top above this one; undefined when it has nobody above it. */
export function topAbove<Server extends PromotionServer>(servers: readonly Server[], server: Server): Server | undefined {
  return allAbove(servers, server).at(-1);
}

/**
 * Which parents change when `successor` takes the place of `lost`: it gets the parent of that one (its own stays when it stands above it),
 * and everybody else directly below that one gets the successor. No circle comes of it: whoever stood between the two stands below the
 * successor then.
 */
export function movesOf(servers: readonly PromotionServer[], successor: PromotionServer, lost: PromotionServer): MovedServer[] {
  const nameOf = (id: Id | null) => (id === null ? null : (servers.find((one) => one.id === id)?.name ?? id));
  const isAbove = allAbove(servers, lost).some(({ id }) => id === successor.id);
  const own = isAbove ? parentOf(successor) : parentOf(lost);
  return servers.flatMap((server) => {
    const from = parentOf(server);
    const isSuccessor = server.id === successor.id;
    if (server.state !== 'active' || server.id === lost.id || !(isSuccessor || from === lost.id)) return [];
    const toId = isSuccessor ? own : successor.id;
    if (toId === from) return [];
    return [{ id: server.id, toId, server: server.name, from: nameOf(from), to: nameOf(toId), managedBy: server.parentFile }];
  });
}
