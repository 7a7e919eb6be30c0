import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectLocal } from '../../cli/client.ts';
import type { OrderView } from '../../server/orders/view.ts';
import type { TargetView } from '../../server/targets/view.ts';
import { diskImage, MIB, seededBytes } from '../agent/fixtures.ts';
import type { Node } from './control-sites.ts';
import { type Imported, MeetingLedger } from './meeting-ledger.ts';
import type { NumberedSteps } from './numbered-steps.ts';
import { playDeployment } from './play-machine.ts';
import { runJson } from './run-cli.ts';
import { waitUntil } from './wait-until.ts';

/** `office` has no link to anybody: what it asks of the branch goes through the database. The branch replicates from `hq`. */
export type MeetingNodes = { readonly office: Node; readonly hq: Node; readonly branch: Node };

/** What can be in the middle: an order on its way to the branch, a machine being deployed, an import, a replication run. */
export type Moment = 'order' | 'deployment' | 'import' | 'run';

const OPEN_ORDERS = 3;
const IN_PROGRESS = 75;
const LONGEST_MS = 120_000;

/**
 * People and machines at work at three servers that meet in one database, through API and command line: orders at two of
 * them for machines of the third, new versions of an image, replication runs. Every answer goes into the ledger at once;
 * an answer that says no ends the work with an error, because none of this may need the database.
 */
export class MeetingWork {
  readonly ledger = new MeetingLedger();
  /** How long the slowest answer to a question of a person took, in milliseconds. */
  slowestMs = 0;
  readonly #nodes: MeetingNodes;
  readonly #root: string;
  readonly #steps: NumberedSteps;
  readonly #underWay = new Map<string, Moment>();
  #isVersionWanted = false;
  #isOrdering = true;
  #isOver = false;
  #failure: unknown;
  readonly #running: Promise<unknown>;

  /** Begins at once. `first` is an image that is everywhere already: what is ordered at first. */
  constructor(nodes: MeetingNodes, root: string, { steps, first }: { readonly steps: NumberedSteps; readonly first: Imported }) {
    this.ledger.images.push(first);
    this.#nodes = nodes;
    this.#root = root;
    this.#steps = steps;
    const works: [() => Promise<void>, number][] = [
      [() => this.#order(), 60],
      [() => this.#deploy(), 30],
      [() => this.#replicate(), 100],
      ...this.#all.map((node): [() => Promise<void>, number] => [() => steps.take(node.site), 20]),
      ...this.#all.map((node): [() => Promise<void>, number] => [() => this.#ask(node), 50]),
    ];
    this.#running = Promise.all(works.map(([work, pauseMs]) => this.#repeat(work, pauseMs)));
  }

  /** Imports one more version at headquarters, as soon as the run in progress is done; one that is still wanted is that one. */
  wantVersion(): void {
    this.#isVersionWanted = true;
  }

  isUnderWay(moment: Moment): boolean {
    this.#check();
    return [...this.#underWay.values()].includes(moment);
  }

  /** Everything in the middle just now. */
  underWay(): Moment[] {
    return [...new Set(this.#underWay.values())];
  }

  /** Resolves when each server's API has answered that it reaches the database, and has written there for itself, both after this call. */
  async isBack(): Promise<void> {
    await Promise.all(
      this.#all.map(async ({ site }) => {
        const before = this.#steps.acknowledgedBy(site);
        await waitUntil(`${site.self.name} wrote`, () => {
          this.#check();
          return this.#steps.acknowledgedBy(site) !== before;
        });
        const client = await connectLocal(site.dataDir);
        await waitUntil(
          `${site.self.name} reaches the database`,
          async () => (await client.get<{ state: string }>('/api/v1/shared')).state === 'connected',
        );
      }),
    );
  }

  /** Orders no more; resolves when each order was carried out and every version is at the branch. */
  async finish(): Promise<void> {
    this.#isOrdering = false;
    const open = () => this.ledger.orders.filter(({ id }) => !this.ledger.results.has(id));
    const hasEnded = () => {
      this.#check();
      return open().length === 0 && !this.#isVersionWanted;
    };
    await waitUntil('the end of all orders and of the last import', hasEnded, { limitMs: LONGEST_MS, everyMs: 50, state: open });
    await this.stop();
    this.#check();
    await this.#run();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  get #all(): Node[] {
    return Object.values(this.#nodes);
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #repeat(work: () => Promise<void>, pauseMs: number): Promise<void> {
    try {
      while (!this.#isOver) {
        await work();
        await sleep(pauseMs);
      }
    } catch (error) {
      this.#failure ??= error;
      this.#isOver = true;
    }
  }

  /** A command line that must be answered with yes. */
  async #say<Answer>({ site }: Node, ...argv: string[]): Promise<Answer> {
    const { code, document } = await runJson<Answer>([...argv, '--data', site.dataDir]);
    assert.equal(code, 0, `${argv.join(' ')}: ${JSON.stringify(document)}`);
    return document;
  }

  async #during<Result>(key: string, moment: Moment, work: () => Promise<Result>): Promise<Result> {
    this.#underWay.set(key, moment);
    try {
      return await work();
    } finally {
      this.#underWay.delete(key);
    }
  }

  /** A new machine of the branch and an order for it, from the office and from headquarters in turn. */
  async #order(): Promise<void> {
    const { orders, results, targets } = this.ledger;
    if (!this.#isOrdering || orders.length - results.size >= OPEN_ORDERS) return;
    const number = targets.length;
    const from = number % 2 === 0 ? this.#nodes.office : this.#nodes.hq;
    const mac = macOf(number);
    const target = await this.#say<TargetView>(from, 'target', 'add', `till-${number}`, '--mac', mac, '--server', 'branch');
    targets.push({ id: target.id, mac });
    const order = await this.#say<OrderView>(from, 'order', 'create', '--target', target.id, '--image', 'debian');
    this.#underWay.set(order.id, 'order');
    orders.push({ id: order.id, targetId: target.id, image: order.image });
  }

  /** The machines of the branch, one after the other: whatever has become an order there is carried out. */
  async #deploy(): Promise<void> {
    const { branch } = this.#nodes;
    const { items } = await this.#say<{ items: OrderView[] }>(branch, 'order', 'list', '--limit', String(4 * OPEN_ORDERS));
    for (const { id } of items) if (this.#underWay.get(id) === 'order') this.#underWay.delete(id);
    const next = items.findLast(({ id, state }) => state === 'activated' && !this.ledger.results.has(id));
    if (next === undefined) return;
    await this.#during(next.id, 'deployment', () => this.#play(next));
    this.ledger.results.add(next.id);
  }

  async #play({ id, targetId, image }: OrderView): Promise<void> {
    const { site, serving } = this.#nodes.branch;
    const { mac } = this.ledger.targets.find((target) => target.id === targetId) ?? assert.fail(`nobody asked for order ${id}`);
    const { raw } = this.ledger.images.find(({ reference }) => reference === image) ?? assert.fail(`order ${id} is for ${image}`);
    assert.ok(serving);
    const ends: (() => Promise<void>)[] = [];
    const server = { site, serving, folder: this.#root, pin: site.keys.caPin, clock: { offsetMs: 0 } };
    await playDeployment({ after: (end) => ends.push(end) }, { server, root: this.#root, orderId: id, address: mac, raw });
    for (const end of ends) await end();
  }

  /** A version that is wanted is imported, then a run fetches what is new. */
  async #replicate(): Promise<void> {
    if (this.#isVersionWanted) await this.#during('import', 'import', () => this.#import());
    await this.#run();
  }

  async #import(): Promise<void> {
    const version = this.ledger.images.length + 1;
    const raw = join(this.#root, `debian-${version}.raw`);
    await writeFile(raw, diskOf(version));
    const {
      name,
      version: given,
      manifest,
    } = await this.#say<{ name: string; version: string; manifest: string }>(
      ...([this.#nodes.hq, 'image', 'import', raw, '--name', 'debian'] as const),
    );
    this.ledger.images.push({ reference: `${name}@${given}`, manifest, raw });
    this.#isVersionWanted = false;
  }

  async #run(): Promise<void> {
    const { site } = this.#nodes.branch;
    const { code, document } = await this.#during('run', 'run', () =>
      runJson<{ id: string; state: string; generation: number }>(['sync', 'run', '--wait', '--data', site.dataDir]),
    );
    if (code === IN_PROGRESS) return;
    assert.deepEqual([code, document.state], [0, 'done'], JSON.stringify(document));
    this.ledger.runs.push({ id: document.id, generation: document.generation });
  }

  /** What a person looks at: the servers, and the orders. */
  async #ask({ site }: Node): Promise<void> {
    const asked = performance.now();
    const client = await connectLocal(site.dataDir);
    await client.get('/api/v1/servers');
    await client.get('/api/v1/orders?limit=10');
    this.slowestMs = Math.max(this.slowestMs, performance.now() - asked);
  }
}

/** Of 4 MiB, a quarter of a MiB of them its own: a version costs its difference. */
function diskOf(version: number): Buffer {
  const disk = diskImage(4 * MIB);
  seededBytes(1000 + version, MIB / 4).copy(disk, MIB);
  return disk;
}

function macOf(number: number): string {
  const digits = number.toString(16).padStart(6, '0');
  return `52:54:00:${digits.slice(0, 2)}:${digits.slice(2, 4)}:${digits.slice(4)}`;
}
