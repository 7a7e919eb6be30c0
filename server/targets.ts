/** Machines to be installed, as the other rooms meet them. */
export type { Boot } from './db/boots.ts';
export type { Target } from './db/targets.ts';
export { createBoot, getBoot } from './targets/boots.ts';
export { type AddedTarget, addTarget, getTarget, groupTarget, listTargets, removeTarget } from './targets/manage.ts';
export { noteTarget, seeTarget } from './targets/see.ts';
export type { Sighting } from './targets/sighting.ts';
