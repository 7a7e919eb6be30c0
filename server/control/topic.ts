/** The topic that tells that a parent was joined. */
export const PARENTS = 'parents';
