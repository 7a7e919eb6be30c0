/** What a server is here: `revoked` by us; the last two by the registry of a shared database: it left, or another took its place. */
export const SERVER_STATES = ['active', 'revoked', 'retired', 'fenced'] as const;
export type ServerState = (typeof SERVER_STATES)[number];
