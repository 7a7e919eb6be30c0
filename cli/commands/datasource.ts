import type { Command } from 'commander';
import { AppError } from '../../core/errors.ts';
import { parseName } from '../../core/ids.ts';
import {
  addDataSource,
  type DataSource,
  listDataSources,
  parseDatabaseUrl,
  removeDataSource,
  resolveDatabase,
  sourceDirectories,
} from '../../server/datasource.ts';
import { complaintsAbout, examineShared } from '../../server/shared/examine.ts';
import { openShared } from '../../server/shared/open.ts';
import type { Frame } from '../frame.ts';
import { details, table } from '../output.ts';

type AddOptions = { host?: string[]; user?: string; name?: string; passwordFile?: string; ca?: string };

const WHERE = '\nSources live in /etc/waystation/datasources.d (or WAYSTATION_DATASOURCES); with --data, in DIR/datasources.d.';

export function register(program: Command, frame: Frame): void {
  const noun = program.command('datasource').description('named database connections, apart from any server').addHelpText('after', WHERE);
  noun
    .command('add <name>')
    .description('define one: datasource add NAME --url mysql://user@host/db, or with --host, --user and --name')
    .option('--host <host[:port]>', 'database host; may be repeated', (host: string, hosts: string[] = []) => [...hosts, host])
    .option('--user <user>', 'database user')
    .option('--name <database>', 'name of the database')
    .option('--password-file <file>', 'file with the password (or WAYSTATION_DATABASE_PASSWORD when it is used)')
    .option('--ca <file>', "CA of the database's certificate, PEM; turns TLS on")
    .action((name: string, options: AddOptions) => add(frame, name, options));
  noun
    .command('list')
    .description('those that are defined')
    .action(async () => {
      const items = (await listDataSources(places(frame))).map(document);
      const rows = () => items.map((item) => [item.name, item.hosts.join(','), item.user, item.database, item.path]);
      frame.print({ items, next: null }, () => table(['NAME', 'HOSTS', 'USER', 'DATABASE', 'FILE'], rows()));
    });
  noun
    .command('test <name>')
    .description('connect, and say what is there')
    .action((name: string) => test(frame, name));
  noun
    .command('prepare <name>')
    .description('make the tables of this release there (with an account that may); harmless when they are there')
    .action((name: string) => prepare(frame, name));
  noun
    .command('remove <name>')
    .description('forget one; the database is not touched')
    .option('--yes', 'do not ask')
    .action(async (name: string, { yes }: { yes?: boolean }) => {
      await frame.confirm(`Remove the data source "${parseName(name)}"?`, yes ?? false);
      frame.print(document(await removeDataSource(parseName(name), places(frame))), `removed ${name}`);
    });
}

async function add(frame: Frame, name: string, options: AddOptions): Promise<void> {
  const { host, user, name: database, passwordFile, ca } = options;
  const url = databaseUrl(frame);
  if ((url === undefined) === (host === undefined)) {
    throw new AppError('usage', 'give either --url or --host, --user and --name', { hint: 'see waystation datasource add --help' });
  }
  const fromUrl = url === undefined ? { hosts: host, user, name: database } : parseDatabaseUrl(url);
  const given = Object.entries({ ...fromUrl, ...(passwordFile ? { passwordFile } : {}), ...(ca ? { ca } : {}) });
  const source = await addDataSource(
    sourceDirectories(places(frame))[0] as string,
    name,
    Object.fromEntries(given.filter(([, value]) => value !== undefined)),
  );
  frame.print(document(source), `wrote ${source.path}`);
}

async function test(frame: Frame, name: string): Promise<void> {
  const connection = await resolveDatabase(parseName(name), { ...places(frame), env: frame.env });
  if (connection.kind !== 'mysql') throw new AppError('usage', `${name} is no data source`);
  const examined = await examineShared(connection);
  const complaints = complaintsAbout(examined);
  const { version, tls, latencyMs, lacking, maySetUp, connections, members, schema } = examined;
  const rights = { lacking: lacking && [...lacking], maySetUp };
  const found = { name, ok: complaints.length === 0, version, schema, tls, latencyMs, rights, connections, members, complaints };
  frame.print(found, () =>
    details([
      [name, `reached, ${version}`],
      ['latency', `${latencyMs} ms`],
      ['TLS', tls ?? 'no: the connection is plain TCP ("ca" turns TLS on)'],
      [
        'rights',
        `${lacking === null ? 'not understood' : lacking.length === 0 ? 'enough to work' : `${lacking.join(', ')} missing`}${maySetUp ? ', and to set up and upgrade' : ''}`,
      ],
      ['schema', schema],
      ['connections', `${connections.used} of ${connections.most} in use`],
      ...(members === null ? [] : ([['cluster', `${members} members`]] as const)),
      ...complaints.map((words) => ['ATTENTION', words] as const),
    ]),
  );
  if (complaints.length > 0) frame.setOutcome('config');
}

async function prepare(frame: Frame, name: string): Promise<void> {
  const connection = await resolveDatabase(parseName(name), { ...places(frame), env: frame.env });
  if (connection.kind !== 'mysql') throw new AppError('usage', `${name} is no data source`);
  const shared = openShared(connection, Date.now);
  try {
    const applied = await shared.prepare();
    frame.print(
      { name, applied: [...applied] },
      applied.length === 0 ? 'nothing to do' : applied.map((one) => `applied ${one}`).join('\n'),
    );
  } finally {
    await shared.close();
  }
}

/** `--url` is a global option of the command line; here it is the database's. */
function databaseUrl(frame: Frame): string | undefined {
  return frame.url === frame.env['WAYSTATION_URL'] ? undefined : frame.url;
}

function places(frame: Frame): { dataDir?: string; env: NodeJS.ProcessEnv } {
  return frame.isDataDirGiven ? { dataDir: frame.dataDir, env: frame.env } : { env: frame.env };
}

function document({ name, path, settings }: DataSource) {
  const { hosts, user, name: database, passwordFile, ca } = settings;
  return { name, hosts: [...hosts], user, database, passwordFile: passwordFile ?? null, ca: ca ?? null, path };
}
