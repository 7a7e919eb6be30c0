import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listEvents } from '../../server/db/events.ts';
import { createOrder, getOrder } from '../../server/orders/orders.ts';
import { viewOrder } from '../../server/orders/view.ts';
import type { SharedView } from '../../server/shared/view.ts';
import type { Site } from '../../server/site.ts';
import type { TestServer } from '../agent/helpers.ts';
import { eventsArrived, eventually, makeNode, type Node, replicate } from '../helpers/control-sites.ts';
import { hasBegun, mac, orderFrom, seenAt, startOutageSites } from '../helpers/outage-sites.ts';
import { bootScript, playDeployment } from '../helpers/play-machine.ts';
import { runJson } from '../helpers/run-cli.ts';
import { rowOf } from '../helpers/shared-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { openClient, read } from '../server/tftp/helpers.ts';

const root = await temporaryDirectory('shared-half-hour');
const MINUTE_MS = 60_000;
const AWAY_MINUTES = 30;
const MACHINES = ['till', 'desk', 'kiosk'];
/** The clock of the servers. That of the database cannot be moved: what lies there gets older instead. */
const clock = { offsetMs: 0 };
const now = () => Date.now() + clock.offsetMs;

test('the database is away for half an hour: machines boot and are deployed all along, and it is told once, with one alarm for who is gone', async (t) => {
  const { meeting, hq, branch, office } = await startOutageSites(root, MACHINES, now);
  const gone = await makeNode(root, 'gone', undefined, { flags: { database: meeting.database }, now });
  t.after(() => gone.close().catch(() => undefined));
  await replicate(branch);
  const fromOffice = await orderFrom(office, 'till');
  await hasBegun(branch, fromOffice.id);
  await eventually('gone was heard', async () => (await rowOf(office.site, gone.site.self.id))?.heartbeatAt);
  await gone.close();
  const { serving } = branch;
  assert.ok(serving);
  const server: TestServer = { site: branch.site, serving, folder: root, pin: branch.site.keys.caPin, clock };

  await ageBy(meeting.mariadb, AWAY_MINUTES * MINUTE_MS);
  await meeting.mariadb.kill();
  const { since } = await eventually('the branch knows it', async () => {
    const shared = await told(branch);
    return shared.state === 'unreachable' && shared;
  });
  const orders: string[] = [];
  const seen = { scripts: 0, loaders: 0 };
  for (let minute = 1; minute <= AWAY_MINUTES; minute += 1) {
    clock.offsetMs = minute * MINUTE_MS;
    assert.match(await bootScript(serving.httpUrl, mac(16 + minute)), /^kernel http/m);
    seen.scripts += 1;
    if (minute % 10 !== 5) continue;
    for (const file of ['undionly.kpxe', 'snponly.efi']) {
      assert.equal((await firstBlock(serving.tftpPort, `boot/amd64/${file}`)).toString('latin1', 0, 4), 'ipxe');
      seen.loaders += 1;
    }
    const machine = MACHINES[orders.length] ?? '';
    const wish = { targetRef: machine, imageRef: 'debian', actor: 'test' };
    const id = machine === 'till' ? fromOffice.id : (await createOrder(branch.site, wish)).id;
    orders.push(id);
    await playDeployment(t, { server, root, orderId: id, address: mac(orders.length) });
  }
  assert.equal(orders.length, MACHINES.length);
  // Images still come over the link, with the certificates that it has.
  await replicate(branch);
  const still = await told(branch);
  assert.deepEqual([still.state, still.since], ['unreachable', since]);
  assert.ok(now() - Date.parse(since ?? '') >= AWAY_MINUTES * MINUTE_MS);
  for (const id of orders) assert.notEqual((await seenAt(office, id))?.state, 'current');

  await meeting.mariadb.start();
  const back = performance.now();
  for (const id of orders) {
    const { revision } = await viewOrder(branch.site, await getOrder(branch.site, id));
    for (const node of [office, hq]) {
      await eventually(`the result is at ${node.name}`, async () => {
        const view = await seenAt(node, id);
        return view?.state === 'current' && view.revision === revision;
      });
    }
  }
  const arrived = performance.now() - back;
  for (const node of [office, hq]) {
    await eventually(`every event of the branch is at ${node.name}, once`, () => eventsArrived(branch.site, node.site));
    for (const id of orders) assert.equal((await eventsOf(node.site, branch.site, 'order.current', id)).length, 1);
  }
  const nodes = [hq, branch, office];
  for (const node of nodes) {
    await eventually(
      `${node.name} has shown itself`,
      async () => ((await rowOf(office.site, node.site.self.id))?.heartbeatAt ?? 0) > Date.now() - MINUTE_MS,
    );
    assert.equal((await eventsOf(node.site, node.site, 'shared.unreachable')).length, 1);
    assert.equal((await eventsOf(node.site, node.site, 'shared.reached')).length, 2);
  }
  // Who lives has had its minute to show that; now the one that keeps watch tells of the others.
  clock.offsetMs += 2 * MINUTE_MS;
  const silences = async () => (await Promise.all(nodes.map((node) => eventsOf(node.site, node.site, 'server.silent')))).flat();
  await eventually('somebody tells of gone', async () => {
    for (const node of nodes) node.site.wake.notify('shared.chores');
    return (await silences()).length > 0;
  });
  for (const node of nodes) node.site.wake.notify('shared.chores');
  assert.deepEqual(
    (await silences()).map(({ subject }) => subject),
    [gone.site.self.id],
  );
  t.diagnostic(
    `${AWAY_MINUTES} min without the database: ${seen.scripts} boot scripts, ${seen.loaders} loaders, ${orders.length} deployments; results at both others ${(arrived / 1000).toFixed(1)} s after it was back, each once`,
  );
});

/** As if the time of the database went on while it is stopped: everything there was longer ago. No server gets a turn between this and `kill`. */
async function ageBy(mariadb: { sqlBeside(text: string): Promise<void> }, ms: number): Promise<void> {
  await mariadb.sqlBeside(
    `update meet.shared_servers set heartbeat_at = heartbeat_at - ${ms}; update meet.shared_leases set expires_at = expires_at - ${ms} where holder is not null`,
  );
}

/** What `sync status` says. */
async function told({ site }: Node): Promise<SharedView> {
  return (await runJson<{ shared: SharedView }>(['sync', 'status', '--data', site.dataDir])).document.shared;
}

/** What firmware gets first of a boot loader. */
async function firstBlock(tftpPort: number, file: string): Promise<Buffer> {
  const client = await openClient();
  try {
    client.send(read(file), tftpPort);
    const { packet } = await client.next();
    assert.ok(packet.kind === 'data', packet.kind);
    return Buffer.from(packet.data);
  } finally {
    client.close();
  }
}

async function eventsOf(at: Site, from: Site, kind: string, subject?: string) {
  const events = await listEvents(at.db, { origin: from.self.id, limit: 100_000, ...(subject === undefined ? {} : { subject }) });
  return events.filter((event) => event.kind === kind);
}
