import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { locateOrder } from '../../server/control/things-below.ts';
import { listLinks } from '../../server/db/links.ts';
import { getOrder } from '../../server/orders/orders.ts';
import { viewOrder } from '../../server/orders/view.ts';
import type { Site } from '../../server/site.ts';
import { eventsArrived, eventually, type Node } from './control-sites.ts';
import type { Mariadb } from './mariadb.ts';
import type { MeetingNodes } from './meeting-work.ts';
import { runJson } from './run-cli.ts';

type Placed = { readonly id: string; readonly targetId: string; readonly image: string };
/** `raw` is the file it was imported from. */
export type Imported = { readonly reference: string; readonly manifest: string; readonly raw: string };

/** What three servers that meet in a database acknowledged, kept outside of them. */
export class MeetingLedger {
  readonly targets: { readonly id: string; readonly mac: string }[] = [];
  readonly orders: Placed[] = [];
  /** The orders whose machine was told that it is current. */
  readonly results = new Set<string>();
  readonly images: Imported[] = [];
  /** Replication runs that were said to be done. */
  readonly runs: { readonly id: string; readonly generation: number }[] = [];

  /**
   * Holds what is there against it, when nothing works any more but the servers' own exchange: each thing is at every
   * server where it belongs, once, and nothing else is. `database` is the name of the one where they meet.
   */
  async compare(nodes: MeetingNodes, mariadb: Mariadb, database: string): Promise<void> {
    const ask = (query: string) => mariadb.ask(`use ${database}; ${query}`).split('\n').filter(Boolean);
    const { office, hq, branch } = nodes;
    await this.#compareOrders(nodes, ask);
    await this.#compareImages(nodes, ask);
    for (const [from, to] of [
      [branch, hq],
      [branch, office],
      [office, hq],
      [hq, office],
    ] as const)
      await eventually(`${to.name} knows each event of ${from.name} once`, () => eventsArrived(from.site, to.site));
    for (const { name, site } of [office, hq, branch]) {
      await eventually(`each event of ${name} is in the database once`, async () => {
        const told = ask(`select seq, kind, subject from shared_events where origin = '${site.self.id}' order by seq`);
        const own = await site.db('events').where({ origin: site.self.id }).orderBy('seq').select('seq', 'kind', 'subject');
        return JSON.stringify(told) === JSON.stringify(own.map(({ seq, kind, subject }) => `${seq}\t${kind}\t${subject}`));
      });
    }
    await eventually('no command waits', async () => ask('select receiver, seq, kind from shared_commands').length === 0);
    for (const { name, site } of [hq, branch]) {
      const { code, document } = await runJson(['store', 'check', '--data', site.dataDir]);
      assert.equal(code, 0, `store of ${name}: ${JSON.stringify(document)}`);
    }
  }

  async #compareOrders({ office, hq, branch }: MeetingNodes, ask: (query: string) => string[]): Promise<void> {
    const { db } = branch.site;
    assert.deepEqual((await db('targets').pluck('id')).sort(), this.targets.map(({ id }) => id).sort(), 'targets of the branch');
    const there = await db('orders').select('id', 'target_id', 'image_reference', 'state');
    const words = (orders: { id: string; target: string; image: string; state: string }[]) =>
      orders.map(({ id, target, image, state }) => `${id} ${target} ${image} ${state}`).sort();
    assert.deepEqual(
      words(there.map(({ id, target_id, image_reference, state }) => ({ id, target: target_id, image: image_reference, state }))),
      words(this.orders.map(({ id, targetId, image }) => ({ id, target: targetId, image, state: 'current' }))),
      'orders of the branch',
    );
    for (const { name, site } of [office, hq]) {
      for (const { id } of this.orders) {
        const { revision } = await viewOrder(branch.site, await getOrder(branch.site, id));
        await eventually(`${name} knows the result of order ${id}`, async () => {
          const located = await locateOrder(site, id);
          return located.where === 'below' && located.below.view.state === 'current' && located.below.view.revision === revision;
        });
      }
    }
    const reported = (kind: string) =>
      ask(`select subject from shared_reports where origin = '${branch.site.self.id}' and kind = '${kind}'`);
    for (const [kind, things] of [
      ['order', this.orders],
      ['target', this.targets],
    ] as const)
      assert.deepEqual(reported(kind).sort(), things.map(({ id }) => id).sort(), `each ${kind} in the database`);
    // Told again and again or not: an order is made once and ends once, for everybody who hears of it.
    for (const { name, site } of [branch, office, hq]) {
      for (const kind of ['order.activated', 'order.current'])
        await eventually(`${kind} once for each order at ${name}`, () =>
          hasOne(
            site,
            kind,
            this.orders.map(({ id }) => id),
          ),
        );
    }
  }

  async #compareImages({ office, hq, branch }: MeetingNodes, ask: (query: string) => string[]): Promise<void> {
    const published = this.images.map(({ reference, manifest }) => `${reference} ${manifest} published`).sort();
    const at = async ({ site }: Node) =>
      (await site.db('images').where({ name: 'debian' }).select('name', 'version', 'manifest', 'state'))
        .map(({ name, version, manifest, state }) => `${name}@${version} ${manifest} ${state}`)
        .sort();
    assert.deepEqual(await at(hq), published, 'images of headquarters');
    assert.deepEqual(await at(branch), published, 'images of the branch');
    await eventually('the office knows each image once', async () => (await at(office)).length === published.length);
    const objects = await hq.site
      .db('objects')
      .where({ origin: hq.site.self.id, kind: 'image' })
      .orderBy('id')
      .select('id', 'digest', 'revision');
    await eventually('each image is in the database once', async () => {
      const told = ask(
        `select id, digest, revision from shared_objects where origin = '${hq.site.self.id}' and kind = 'image' order by id`,
      );
      return JSON.stringify(told) === JSON.stringify(objects.map(({ id, digest, revision }) => `${id}\t${digest}\t${revision}`));
    });
    const ids = await hq.site.db('images').where({ name: 'debian' }).pluck('id');
    assert.ok(await hasOne(hq.site, 'image.published', ids), 'each image was published once');
    assert.ok(
      await hasOne(
        branch.site,
        'run.done',
        this.runs.map(({ id }) => id),
      ),
      'each run was done once',
    );
    const [link] = await listLinks(branch.site.db);
    assert.ok((link?.heldGeneration ?? 0) >= Math.max(...this.runs.map(({ generation }) => generation)), 'the branch went back');
    for (const { reference, raw } of this.images) {
      const out = join(raw, '..', 'exported.raw');
      const { code, document } = await runJson(['image', 'export', reference, '--out', out, '--data', branch.site.dataDir]);
      assert.equal(code, 0, JSON.stringify(document));
      assert.ok((await readFile(out)).equals(await readFile(raw)), `${reference} is another one at the branch`);
      await rm(out);
    }
  }
}

/** Whether each of these things has exactly one event of this kind here. */
async function hasOne(site: Site, kind: string, subjects: readonly string[]): Promise<boolean> {
  const found: string[] = await site.db('events').where({ kind }).pluck('subject');
  const wanted = new Set(subjects);
  const ours = found.filter((subject) => wanted.has(subject));
  return ours.length === wanted.size && new Set(ours).size === ours.length;
}
