import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Name, newId } from '../../core/ids.ts';
import type { MysqlConnection } from '../../server/db/dialect-mysql.ts';
import { openShared } from '../../server/shared/open.ts';
import { startCuttingProxy } from '../helpers/cutting-proxy.ts';
import { howMany } from '../helpers/how-many.ts';
import { startMariadb } from '../helpers/mariadb.ts';
import { NumberedSteps } from '../helpers/numbered-steps.ts';
import { randomFrom } from '../helpers/seeded.ts';
import { waitUntil } from '../helpers/wait-until.ts';

/** How many connections are cut. A database that lives goes on with what it has read, so more commits are in doubt here than where it is killed. */
const CUTS = howMany({ sample: 30, full: 600 });
const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const SERVERS = 3;
/** More than a server has connections. */
const WRITERS = 5;

test(`${CUTS} connections to the shared database cut at any moment: no write is lost, none done twice or by half (seed ${SEED})`, async (t) => {
  const random = randomFrom(SEED);
  const mariadb = await startMariadb();
  mariadb.createDatabase('meeting');
  const proxy = await startCuttingProxy(mariadb.port);
  const connection: MysqlConnection = {
    ...{ kind: 'mysql', hosts: [`127.0.0.1:${proxy.port}`], user: 'waystation', name: 'meeting', password: mariadb.password },
  };
  const servers = Array.from({ length: SERVERS }, (_, n) => ({
    self: { id: newId(), name: `server-${n}` as Name },
    shared: openShared(connection, Date.now),
  }));
  after(async () => {
    for (const { shared } of servers) await shared.close();
    await proxy.close();
    await mariadb.stop();
  });
  await servers[0]?.shared.prepare();
  const steps = new NumberedSteps(mariadb, 'meeting');
  let isOver = false;
  const write = async (server: (typeof servers)[number]) => {
    while (!isOver) {
      await steps.take(server);
      await sleep(1);
    }
  };
  const writing = servers.flatMap((server) => Array.from({ length: WRITERS }, () => write(server)));
  try {
    const cutSome = () => {
      proxy.cutAny(random);
      return proxy.cuts() >= CUTS;
    };
    // Each cut needs somebody who writes: when the writers have failed, none would come.
    await waitUntil(`${CUTS} cuts`, cutSome, { limitMs: CUTS * 10_000, everyMs: () => random() * 200, during: Promise.all(writing) });
  } finally {
    isOver = true;
  }
  await Promise.all(writing);
  steps.look();
  steps.compare();
  for (const server of servers) assert.ok(steps.acknowledgedBy(server) > 0, `${server.self.name} was refused everything`);
  t.diagnostic(
    `${proxy.cuts()} cuts: ${steps.acknowledged} steps acknowledged, ${steps.found} of them by reading again, ${steps.refused} refused`,
  );
});
