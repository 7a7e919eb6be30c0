import type { Knex } from 'knex';
import { ServerReport } from '../../core/control-protocol.ts';
import { describeError } from '../../core/errors.ts';
import { type Id, printable } from '../../core/ids.ts';
import { type ActualServer, type Difference, diffTree, type Placed, type Problem } from '../../core/site-tree.ts';
import { COMMANDS, controlTopic, dispatchWithin } from '../control/dispatch.ts';
import { checkWish, putLinkWish } from '../control/link-wish.ts';
import { checkPolicy, putPolicy } from '../control/policies.ts';
import { findServerBelow } from '../control/servers-below.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { getSetting, setSetting } from '../db/settings.ts';
import { listSharedServers, lockSharedServer, releaseParent, type SharedServer, wishParent } from '../db/shared/servers.ts';
import type { Site } from '../site.ts';
import { lockTree } from './parents.ts';
import { sharedOf } from './shared-of.ts';
import { tellRings } from './tell-rings.ts';
import { readTreeFile, refused } from './tree-file.ts';

export type TreeFile = { readonly file: string; readonly text: string };
export type TreeReport = { readonly file: string; readonly differences: readonly Difference[]; readonly applied: boolean };

const WHAT = 'the tree of servers';

/** How the servers stand beside what a file says. Errors: `bad_data` with lines, `wrong_state` without a shared database, `unreachable`. */
export async function compareTree(site: Site, { file, text }: TreeFile): Promise<TreeReport> {
  const wanted = readTreeFile(file, text);
  const servers = await sharedOf(site).read(WHAT, listSharedServers);
  check(file, wanted, servers);
  return { file, differences: diffTree(wanted, actualOf(servers), site.self.name), applied: false };
}

/**
 * Makes the servers what a file says: all parents in one transaction, then a command for each server whose settings or link differ.
 * What the file names is not for operators to change from then on; servers that it left out are theirs again.
 */
export async function applyTree(site: Site, { file, text }: TreeFile, actor: string): Promise<TreeReport> {
  const wanted = readTreeFile(file, text);
  const shared = sharedOf(site);
  const before = await shared.write(
    WHAT,
    async (trx) => {
      await lockTree(trx);
      const servers = await listSharedServers(trx);
      check(file, wanted, servers);
      await wishAll(trx, { wanted, servers, file: `${printable(file)} of server ${site.self.name}` });
      return servers;
    },
    'repeat',
  );
  const differences = diffTree(wanted, actualOf(before), site.self.name);
  const active = new Set<string>(before.filter(({ state }) => state === 'active').map(({ name }) => name));
  await tellSettings(site, { file, wanted, differences, active, servers: before, actor });
  return { file, differences, applied: true };
}

/** What only the registry can tell: names that nobody has, servers that left, settings that there are not. */
function check(file: string, wanted: readonly Placed[], servers: readonly SharedServer[]): void {
  const problems: Problem[] = [];
  for (const { name, line, settings, link } of wanted) {
    const server = servers.find((one) => one.name === name);
    if (server === undefined) problems.push({ line, words: `no server ${name} meets others in the database` });
    else if (server.state !== 'active') problems.push({ line, words: `server ${name} is ${server.state}` });
    try {
      for (const [key, value] of Object.entries(settings)) checkPolicy({ key, value });
      checkWish(link);
    } catch (error) {
      problems.push({ line, words: describeError(error).message });
    }
  }
  if (problems.length > 0) throw refused(file, problems);
}

type Wishes = { readonly wanted: readonly Placed[]; readonly servers: readonly SharedServer[]; readonly file: string };

async function wishAll(trx: Knex.Transaction, { wanted, servers, file }: Wishes): Promise<void> {
  const byName = new Map<string, SharedServer>(servers.map((server) => [server.name, server]));
  for (const { name, parent } of wanted) {
    const server = byName.get(name) as SharedServer;
    const parentId = parent === null ? null : (byName.get(parent)?.id as Id);
    const isSo = server.parentRevision > 0 && server.parentId === parentId && server.parentFile === file;
    if (isSo) continue;
    const revision = (await lockSharedServer(trx, server.id)) ?? 0;
    await wishParent(trx, server.id, { parentId, file, revision });
  }
  const named = new Set(wanted.map(({ name }) => name));
  for (const { id, name, parentBy } of servers) if (parentBy === 'file' && !named.has(name)) await releaseParent(trx, id);
}

/** What differs, and how that is told. */
export type Telling = {
  readonly file: string;
  readonly wanted: readonly Placed[];
  readonly differences: readonly Difference[];
  /** Names of the servers that are there. */
  readonly active: ReadonlySet<string>;
  readonly servers: readonly SharedServer[];
  readonly actor: string;
};

type Leaving = Pick<Telling, 'wanted' | 'differences' | 'active'> & { readonly told: ReadonlyMap<string, string> };

/** Whom the file leaves out: as the registry says, or as this server had told them and the registry has forgotten. */
function toRelease({ wanted, differences, told, active }: Leaving): ReadonlySet<string> {
  const named = new Set<string>(wanted.map(({ name }) => name));
  const released = differences.filter(({ field, wanted: by }) => field === 'managed' && by === 'by operators').map(({ server }) => server);
  return new Set([...released, ...[...told.keys()].filter((name) => !named.has(name) && active.has(name))]);
}

/** Whom this server has told whose file says what of its link: file by the name of the server. */
const TOLD = 'site.told';

async function readTold(trx: Knex): Promise<Map<string, string>> {
  return new Map(Object.entries(JSON.parse((await getSetting(trx, TOLD)) ?? '{}') as Record<string, string>));
}

/**
 * In one transaction of our own: every command is in a queue, or none. When a server dies between the parents and this, the registry says
 * already who is managed; who was told so is known here.
 */
async function tellSettings(site: Site, { file, wanted, differences, active, servers, actor }: Telling): Promise<void> {
  const topics: string[] = [COMMANDS, 'events'];
  const differs = (server: string, prefix: string) => differences.some((one) => one.server === server && one.field.startsWith(prefix));
  await inTransaction(site.db, async (trx) => {
    const told = await readTold(trx);
    for (const { name, settings, link } of wanted) {
      const isSelf = name === site.self.name;
      const to = isSelf ? undefined : await findServerBelow(trx, name);
      const owner = site.self.id;
      for (const [key, value] of Object.entries(settings).filter(([one]) => differs(name, `settings.${one}`))) {
        if (to === undefined) await putPolicy(site, trx, { key, value }, { owner, actor });
        else await dispatchWithin(site, trx, to, { kind: 'setting.put', body: { key, value }, actor });
      }
      if (differs(name, 'link.') || told.get(name) !== file) {
        told.set(name, file);
        if (to === undefined) await putLinkWish(site, trx, { wish: link, file }, { owner, actor });
        else await dispatchWithin(site, trx, to, { kind: 'link.put', body: { wish: link, file }, actor });
      }
      if (to !== undefined) topics.push(controlTopic(to.via));
    }
    for (const name of toRelease({ wanted, differences, told, active })) {
      const to = name === site.self.name ? undefined : await findServerBelow(trx, name);
      const body = { wish: {}, file };
      if (to === undefined) await putLinkWish(site, trx, body, { owner: site.self.id, actor });
      else await dispatchWithin(site, trx, to, { kind: 'link.put', body, actor });
      told.delete(name);
    }
    await setSetting(trx, TOLD, JSON.stringify(Object.fromEntries(told)));
    topics.push(...(await tellRings(site, trx, { file, wanted, differences, servers, actor })));
    const data = { file, differences: differences.length };
    await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, kind: 'site.applied', subject: site.self.id, data });
  });
  for (const topic of topics) site.wake.notify(topic);
}

function actualOf(servers: readonly SharedServer[]): ActualServer[] {
  const names = new Map<Id, string>(servers.map(({ id, name }) => [id, name]));
  return servers
    .filter(({ state }) => state === 'active')
    .map(({ id, name, parentId, parentBy, report }) => {
      const told = ServerReport.safeParse(report).data;
      return {
        ...{ id, name, parentBy, rings: told?.rings ?? {}, parent: parentId === null ? null : (names.get(parentId) ?? parentId) },
        ...{ settings: told?.settings ?? {}, link: told?.link ?? null, managed: told?.managed ?? [] },
      };
    });
}
