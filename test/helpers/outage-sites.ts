import { after } from 'node:test';
import { type Name, parseMac } from '../../core/ids.ts';
import { placeOrder } from '../../server/control/place.ts';
import { locateOrder, showTarget } from '../../server/control/things-below.ts';
import type { OrderView } from '../../server/orders/view.ts';
import { setParent } from '../../server/shared/parents.ts';
import { addTarget } from '../../server/targets.ts';
import { eventually, makeNode, type Node } from './control-sites.ts';
import { type Meeting, startMeeting } from './meeting.ts';
import { fillHeadquarters } from './play-machine.ts';

export const mac = (n: number) => parseMac(`5254000000${n.toString(16).padStart(2, '0')}`);

/** A branch below hq, and an office to which no link of anybody leads; all meet in one database. */
export type OutageSites = {
  readonly meeting: Meeting;
  readonly hq: Node;
  readonly branch: Node;
  /** What it hears comes through the database. */
  readonly office: Node;
};

/**
 * Starts them; the image `debian` and an engine are at hq, and known at the office. `machines` are known at the branch, with the
 * addresses mac(1), mac(2) …, and at the office. `now` is the clock of all servers. All is closed after the tests.
 */
export async function startOutageSites(root: string, machines: readonly string[], now?: () => number): Promise<OutageSites> {
  const meeting = await startMeeting(root);
  const options = { flags: { database: meeting.database }, ...(now === undefined ? {} : { now }) };
  const hq = await makeNode(root, 'hq', undefined, options);
  const branch = await makeNode(root, 'branch', undefined, options);
  const office = await makeNode(root, 'office', undefined, options);
  after(async () => {
    for (const node of [office, branch, hq]) await node.close();
    await meeting.mariadb.stop();
  });
  await fillHeadquarters(root, hq.site);
  for (const [index, name] of machines.entries()) await addTarget(branch.site, { name: name as Name, macs: [mac(index + 1)] }, 'test');
  await eventually('the branch has met hq', async () => (await branch.site.db('peers').where({ name: 'hq' }).first()) !== undefined);
  await setParent(office.site, { server: 'branch', parent: 'hq', actor: 'operator:me' });
  await eventually('the branch has its parent', async () => branch.site.keys.parentCredentials(hq.site.self.id) !== undefined);
  for (const name of machines) await eventually(`office knows ${name}`, () => showTarget(office.site, name).catch(() => undefined));
  await eventually('office knows the image', async () => (await office.site.db('images').where({ name: 'debian' }).first()) !== undefined);
  return { meeting, hq, branch, office };
}

/** An order that the office makes for a machine of the branch. */
export function orderFrom(office: Node, machine: string): Promise<OrderView> {
  return placeOrder(office.site, { targetRef: machine, imageRef: 'debian', actor: 'operator:me' });
}

export async function hasBegun(branch: Node, id: string): Promise<void> {
  await eventually('it has begun', async () => (await seenAt(branch, id))?.state === 'activated');
}

/** How an order is shown at a server, wherever it lives; undefined while it is unknown there. */
export async function seenAt({ site }: Node, id: string): Promise<{ state: string; note: string | null; revision: number } | undefined> {
  const located = await locateOrder(site, id).catch(() => undefined);
  return located?.where === 'below' ? (located.below.view as OrderView) : (located?.view as OrderView | undefined);
}
