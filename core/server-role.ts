/** What a server is in the tree, computed from the links it has: `master` gives, `slave` takes, `both` is a relay, `alone` neither. */
export const SERVER_ROLES = ['master', 'slave', 'both', 'alone'] as const;
export type ServerRole = (typeof SERVER_ROLES)[number];

export function roleOf({ hasParent, hasChildren }: { readonly hasParent: boolean; readonly hasChildren: boolean }): ServerRole {
  if (hasParent) return hasChildren ? 'both' : 'slave';
  return hasChildren ? 'master' : 'alone';
}
