import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Id } from '../../../core/ids.ts';
import type { ConfigFlags } from '../../../server/config.ts';
import { describeSelf } from '../../../server/control/status.ts';
import type { Registration } from '../../../server/db/shared/servers.ts';
import type { Shared } from '../../../server/shared/open.ts';
import { fillHeadquarters } from '../play-machine.ts';
import { makeSite } from '../replication-sites.ts';
import { EXAMPLE, type Examples, liveExample } from './examples.ts';
import { idOf, machineOf } from './machines.ts';
import { markTold, meetingRows, register } from './meeting-rows.ts';
import { fillOwnRows } from './own-rows.ts';
import { textOf } from './pattern.ts';
import { introduce, makeUpServers, tellAsExample } from './servers.ts';
import type { Size } from './sizes.ts';
import { countTold, fillTold } from './told-rows.ts';

/**
 * Makes a directory full of machines, orders and servers, ROOT/NAME. It holds an image `debian` and an engine. With `meeting` the servers
 * meet it in that database, which the flags name and which has all that is told; else they are its children.
 */
export async function fillSite(root: string, name: string, size: Size, meeting?: { flags: ConfigFlags; shared: Shared }): Promise<void> {
  const dataDir = join(root, name);
  await mkdir(join(root, `${name}-files`), { recursive: true });
  const site = await makeSite(root, name, meeting?.flags);
  await fillHeadquarters(join(root, `${name}-files`), site);
  const examples = await liveExample(site);
  const servers = await makeUpServers(size.servers);
  await introduce(site, servers, meeting === undefined ? 'child' : 'peer');
  await tellAsExample(site, servers[0] as Registration, examples);
  const report = await describeSelf(site);
  await site.close();
  const file = join(dataDir, 'db.sqlite');
  fillOwnRows(file, examples, size);
  if (meeting === undefined) return fillTold(file, { examples, servers, size });
  const rows = meetingRows(meeting.shared);
  await register(meeting.shared, servers, report);
  fillTold(file, { examples, servers, size, each: rows.add });
  await rows.flush();
  for (const row of ownRows(site.self.id, examples, size)) {
    rows.add(row);
    if (row.seq % 20_000 === 0) await rows.flush();
  }
  await rows.flush();
  await markTold(meeting.shared, [
    ...ownMarks(file, site.self.id),
    ...servers.map(({ id }, n) => markOf(id, n === 0 ? 3 : countTold(size))),
  ]);
}

function markOf(origin: Id, seq: number) {
  return { origin, stream: 'states', seq } as const;
}

/** Old events are gone from there: only how far they were told is known. */
function ownMarks(file: string, origin: Id) {
  const db = new DatabaseSync(file, { readOnly: true });
  const events = Number(db.prepare('select max(seq) as n from events where origin = ?').get(origin)?.['n']);
  const states = Number(db.prepare("select value as n from counters where name = 'outbox'").get()?.['n']);
  db.close();
  return [{ origin, stream: 'events', seq: events } as const, markOf(origin, states)];
}

/** What the site told of its own machines and orders. */
function* ownRows(origin: Id, { states, targetId, ended }: Examples, { targets, orders }: Size) {
  const places = { ...EXAMPLE, targetId, orderId: ended };
  const bodyOf = (kind: string, subject: string) => {
    const found = states.find((state) => state.kind === kind && state.subject === subject);
    const body = kind === 'target' ? { ...(found?.body as object), order: null } : found?.body;
    return textOf(JSON.stringify(body), places);
  };
  const [target, order] = [bodyOf('target', targetId), bodyOf('order', ended)];
  for (let n = 0; n < targets; n += 1) {
    const machine = machineOf(0, n);
    yield { origin, kind: 'target', subject: machine.targetId, seq: n + 1, body: target(machine) };
  }
  for (let n = 0; n < orders; n += 1) {
    const values = { ...machineOf(0, n % targets), orderId: idOf('order', n, targets + n) };
    yield { origin, kind: 'order', subject: values.orderId, seq: targets + n + 1, body: order(values) };
  }
}
