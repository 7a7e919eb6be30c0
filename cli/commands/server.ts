import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import { listLinks } from '../../server/db/links.ts';
import { type CatalogueNumbers, raiseEpoch } from '../../server/epoch.ts';
import { type ServerView, showServer, viewServers } from '../../server/panel/server-views.ts';
import { unscheduledWords } from '../../server/schedule/unscheduled.ts';
import { revokeServer } from '../../server/servers.ts';
import type { ParentSet } from '../../server/shared/parents.ts';
import { sharedWords } from '../../server/shared/view.ts';
import { issueEnrolToken } from '../../server/trust/enrol-token.ts';
import { joinParent } from '../../server/trust/join.ts';
import type { Frame } from '../frame.ts';
import { details, formatBytes, table } from '../output.ts';
import { readPages } from '../pages.ts';
import { duration } from '../parse.ts';
import { work } from '../work.ts';
import { registerBackup } from './server-backup.ts';
import { registerDatabase } from './server-database.ts';
import { registerDeputy } from './server-deputy.ts';
import { registerEgress } from './server-egress.ts';
import { registerPromote } from './server-promote.ts';
import { registerReplicate } from './server-replicate.ts';
import { registerSources } from './server-source.ts';

const EXITS = '\nExit codes: 0 done, 64 usage, 65 name taken, 66 not found, 69 not reachable, 77 wrong, used or expired token, revoked';

export function register(program: Command, frame: Frame): void {
  const server = program
    .command('server')
    .description('the servers known here: this one, its parent, its children')
    .addHelpText('after', EXITS);
  server
    .command('list')
    .description('list servers: this one, those of its links, those that meet it in a shared database')
    .action(() => list(frame));
  server
    .command('show <server>')
    .description('show one server, by name or id')
    .action((reference: string) => show(frame, reference));
  server
    .command('set <server> <setting...>')
    .description('set policies of this server or of one below it: approve=auto|operator, unknownTargets=engine|disk; KEY= gives one back')
    .action((reference: string, settings: string[]) => set(frame, reference, settings));
  server
    .command('token')
    .description('make a one-time token with which another server enrols here')
    .option('--name <name>', 'the only name it may be used for')
    .option('--ttl <time>', 'how long it is valid: 30m, 24h, 7d (default 24h, at most 30d)', duration(30))
    .action((options: { name?: string; ttl?: number }) => token(frame, options));
  server
    .command('join <url>')
    .description(
      'become the child of the server at this HTTPS address, in the place of the parent before (again: refresh keys and address)',
    )
    .option('--enrol-file <file>', 'the token that "server token" printed there, - for standard input (or WAYSTATION_ENROL_TOKEN)')
    .addHelpText('after', EXITS)
    .action((url: string, options: { enrolFile?: string }) => join(frame, url, options));
  registerEpoch(server, frame);
  registerParent(server, frame);
  registerPromote(server, frame);
  registerDeputy(server, frame);
  server
    .command('ring <server> <ring>')
    .description('the ring in which a child sees new versions: 0 for the pilots, none for "as this server"')
    .action((reference: string, ring: string) => setRing(frame, reference, ring));
  registerSources(server, frame);
  registerDatabase(server, frame);
  server
    .command('revoke <server>')
    .description("take a child's rights away, at once")
    .option('--yes', 'do not ask')
    .action((reference: string, options: { yes?: boolean }) => revoke(frame, reference, options.yes ?? false));
  registerEgress(server, frame);
  registerBackup(server, frame);
  registerReplicate(server, frame);
}

function registerParent(server: Command, frame: Frame): void {
  server
    .command('parent')
    .description('who is whose parent, among servers that meet in a shared database')
    .command('set <server>')
    .description('give a server another parent, or none; what it replicated stays, and it enrols there by itself')
    .requiredOption('--parent <server>', 'the server that is to be the parent, or none')
    .addHelpText('after', EXITS)
    .action((reference: string, options: { parent: string }) => setParent(frame, reference, options.parent));
}

async function setParent(frame: Frame, reference: string, text: string): Promise<void> {
  const parent = text === 'none' ? null : text;
  const path = `/api/v1/servers/${encodeURIComponent(reference)}/parent`;
  const set = await (await frame.connect()).put<ParentSet>(path, { parent });
  const of = set.parent === null ? 'no parent' : `the parent ${set.parent}`;
  frame.print({ ...set }, `${set.server} ${set.changed ? 'is to have' : 'was to have already'} ${of}`);
}

/** What `server epoch` is about, for people: the numbers that children compare. */
function registerEpoch(server: Command, frame: Frame): void {
  server
    .command('epoch')
    .description('the epoch of the catalogue that children copy')
    .command('raise')
    .description('after this server was restored from a backup: children that hold more believe it again, and keep what it lost')
    .option('--yes', 'do not ask')
    .action((options: { yes?: boolean }) => raise(frame, options.yes ?? false));
}

async function raise(frame: Frame, isAgreed: boolean): Promise<void> {
  await frame.confirm('Begin a new epoch? Every child takes the whole catalogue again, with its next run.', isAgreed);
  const numbers = await work(frame, {
    client: (client) => client.post<CatalogueNumbers>('/api/v1/catalogue/epoch'),
    site: (site) => raiseEpoch(site, 'local-admin'),
  });
  frame.print(numbers, `epoch ${numbers.epoch}, generation ${numbers.generation}`);
}

async function set(frame: Frame, reference: string, pairs: readonly string[]): Promise<void> {
  const client = await frame.connect();
  const done: { server: string; settings: Record<string, { value: string | null; from: string }>; note: string | null }[] = [];
  for (const pair of pairs) {
    const [, key, value] = /^([^=]+)=(.*)$/.exec(pair) ?? [];
    if (key === undefined || value === undefined) throw new AppError('usage', `"${pair}" is not KEY=VALUE`, { hint: 'approve=operator' });
    done.push(await client.put(`/api/v1/servers/${encodeURIComponent(reference)}/settings`, { key, value: value === '' ? null : value }));
  }
  const last = done.at(-1);
  const settings = Object.assign({}, ...done.map((one) => one.settings)) as (typeof done)[number]['settings'];
  frame.print({ server: last?.server ?? reference, settings, note: last?.note ?? null }, () =>
    details([
      ['server', last?.server],
      ...Object.entries(settings).map(([key, { value, from }]) => [key, value === null ? 'given back' : `${value} (${from})`] as const),
      ...(last?.note ? ([['note', last.note]] as const) : []),
    ]),
  );
}

async function list(frame: Frame): Promise<void> {
  const items = await work(frame, {
    client: (client) => readPages<ServerView>(client, '/api/v1/servers'),
    site: viewServers,
  });
  frame.print({ items, next: null } as unknown as Json, () => [serverTable(items), awayWords(items)].filter((text) => text).join('\n'));
}

function serverTable(items: readonly ServerView[]): string {
  return table(
    ['NAME', 'ROLE', 'PARENT', 'RELATION', 'STATE', 'HEARD', 'VERSION', 'WAITING', 'ID'],
    items.map((item) => [
      ...[item.name, item.role, parentOf(item), relationOf(item), item.silent ? `${item.state}, SILENT` : item.state],
      ...[heardOf(item), item.version, item.waiting || null, item.id],
    ]),
  );
}

/** Why nothing is new of those that only the database tells of. */
function awayWords(items: readonly ServerView[]): string {
  const shared = items.find(({ relation }) => relation === 'self')?.shared;
  return shared?.state === 'unreachable' ? sharedWords(shared) : '';
}

async function show(frame: Frame, reference: string): Promise<void> {
  printServer(
    frame,
    await work(frame, {
      client: (client) => client.get<ServerView>(`/api/v1/servers/${encodeURIComponent(reference)}`),
      site: (site) => showServer(site, reference),
    }),
  );
}

function relationOf({ relation, via }: ServerView): string {
  return via === null ? relation : `behind ${via}`;
}

function parentOf({ parent, wishedParent }: ServerView): string | null {
  return wishedParent === null || wishedParent === parent ? parent : `${parent ?? 'none'}, to be ${wishedParent}`;
}

function heardOf({ heartbeatAgeSeconds: age }: ServerView): string | null {
  if (age === null) return null;
  if (age < 120) return `${age} s ago`;
  return age < 7200 ? `${Math.round(age / 60)} min ago` : `${Math.round(age / 3600)} h ago`;
}

async function token(frame: Frame, { name, ttl }: { name?: string; ttl?: number }): Promise<void> {
  const wanted = name === undefined ? {} : { name };
  const made = await work(frame, {
    client: (client) =>
      client.post<{ token: string; expiresAt: string }>('/api/v1/enrol-tokens', {
        ...wanted,
        ...(ttl === undefined ? {} : { ttlSeconds: ttl }),
      }),
    site: async (site) => {
      const issued = await issueEnrolToken(site, { ...wanted, ...(ttl === undefined ? {} : { ttlMs: ttl * 1000 }) });
      return { token: issued.token, expiresAt: new Date(issued.expiresAt).toISOString() };
    },
  });
  frame.print(made, made.token);
  frame.say(`It enrols one server, until ${made.expiresAt}. At the child: waystation server join URL --enrol-file FILE`);
}

async function join(frame: Frame, url: string, options: { enrolFile?: string }): Promise<void> {
  const text =
    options.enrolFile === undefined
      ? frame.env['WAYSTATION_ENROL_TOKEN']
      : await frame.readSecret(options.enrolFile, 'the enrolment token');
  if (!text) {
    throw new AppError('usage', 'no enrolment token was given', { hint: 'give --enrol-file FILE, or - and the token on standard input' });
  }
  printServer(
    frame,
    await work(frame, {
      client: (client) => client.post<ServerView>('/api/v1/servers/join', { url, token: text }),
      site: async (site) => showServer(site, (await joinParent(site, { url, token: text, actor: 'local-admin' })).parent.id),
    }),
  );
  const unscheduled = await work(frame, {
    client: async (client) =>
      (await client.get<{ items: { unscheduled: string | null }[] }>('/api/v1/links')).items[0]?.unscheduled ?? null,
    site: async (site) => (await listLinks(site.db)).map((link) => unscheduledWords(link))[0] ?? null,
  });
  if (unscheduled !== null) frame.say(`It is a child now: ${unscheduled}`);
}

async function setRing(frame: Frame, reference: string, text: string): Promise<void> {
  if (text !== 'none' && !/^\d{1,4}$/.test(text)) throw new AppError('usage', 'a ring is a number from 0, or none');
  const ring = text === 'none' ? null : Number(text);
  printServer(frame, await (await frame.connect()).put<ServerView>(`/api/v1/servers/${encodeURIComponent(reference)}/ring`, { ring }));
}

async function revoke(frame: Frame, reference: string, isAgreed: boolean): Promise<void> {
  await frame.confirm(`Revoke server ${reference}? It can replicate nothing from here until it joins again.`, isAgreed);
  printServer(
    frame,
    await work(frame, {
      client: (client) => client.post<ServerView>(`/api/v1/servers/${encodeURIComponent(reference)}/revoke`),
      site: async (site) => showServer(site, (await revokeServer(site, reference, 'local-admin')).id),
    }),
  );
}

function printServer(frame: Frame, server: ServerView): void {
  frame.print(server as unknown as Json, () =>
    details([
      ['name', server.name],
      ['id', server.id],
      ['role', server.role],
      ['parent', parentOf(server)],
      ['relation', relationOf(server)],
      ['state', server.silent ? `${server.state}, SILENT` : server.state],
      ...(server.successor === null ? [] : ([['place taken', `by ${server.successor}, ${server.succeededAt}`]] as const)),
      ['url', server.url],
      ['fingerprint', server.fingerprint],
      ['seen', server.seenAt],
      ['heard', heardOf(server)],
      ...(server.shared?.database ? ([['shared database', sharedWords(server.shared)]] as const) : []),
      ...(server.relation === 'child' ? ([['ring', server.ring ?? 'none']] as const) : []),
      ...(server.waiting === 0 ? [] : ([['waiting', `${server.waiting} commands to be fetched`]] as const)),
      ...statusLines(server),
    ]),
  );
}

function statusLines({ status, reportedAt }: ServerView): (readonly [string, string | null])[] {
  if (status === null) return [];
  const { disk, run, settings, alarms } = status;
  return [
    ['reported', reportedAt],
    ['version', status.version],
    ['free space', `${formatBytes(disk.freeBytes)} of ${formatBytes(disk.totalBytes)}`],
    [
      'images',
      status.images.map(({ reference, state }) => (state === 'published' ? reference : `${reference} (${state})`)).join(', ') || null,
    ],
    ['run', run === null ? null : [run.state, run.percent === null ? '' : `${run.percent} %`, run.error ?? ''].filter(Boolean).join(', ')],
    ...Object.entries(settings).map(([key, { value, from }]) => [key, `${value} (${from})`] as const),
    ...alarms.map((words) => ['ALARM', words] as const),
  ];
}
