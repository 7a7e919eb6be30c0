import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse as parseYaml, stringify } from 'yaml';
import { AppError } from '../core/errors.ts';
import { isName, type Name, parseName, printable } from '../core/ids.ts';
import { explainIssue } from './config/explain.ts';
import { DatabaseConnection } from './config/schema.ts';
import type { DatabaseSetting } from './config.ts';

/**
 * Named data sources, the ODBC way: connection settings in one file per name, apart from any server's
 * configuration. DIR/datasources.d goes before /etc/waystation/datasources.d. A password is never in
 * these files, only the path of its file.
 */
const SYSTEM_SOURCES = '/etc/waystation/datasources.d';
/** Used by `init` when it is defined and nothing else was asked for. */
export const DEFAULT_SOURCE = 'waystation' as Name;

export type Connection =
  | { readonly kind: 'sqlite' }
  | {
      readonly kind: 'mysql';
      readonly hosts: readonly string[];
      readonly user: string;
      readonly name: string;
      readonly password?: string;
      readonly ca?: string;
    };

/** Where to look. `env` gives WAYSTATION_DATASOURCES (the system's directory, if another) and WAYSTATION_DATABASE_PASSWORD. */
export type SourcePlaces = { readonly dataDir?: string; readonly env?: NodeJS.ProcessEnv };

export type DataSource = { readonly name: Name; readonly path: string; readonly settings: DatabaseConnection };

/**
 * What `database:` means: `sqlite`, a URL, settings, or the name of a data source; the password read.
 * Errors: `unknown_data_source`, `unreadable_secret`, `config` (a URL with a password, a file with wrong keys).
 */
export async function resolveDatabase(setting: DatabaseSetting, places: SourcePlaces): Promise<Connection> {
  if (setting === 'sqlite') return { kind: 'sqlite' };
  const settings = await settingsOf(setting, places);
  const password = await readPassword(settings, places.env ?? process.env);
  const { hosts, user, name, ca } = settings;
  return { kind: 'mysql', hosts, user, name, ...(ca === undefined ? {} : { ca }), ...(password === undefined ? {} : { password }) };
}

async function settingsOf(setting: Exclude<DatabaseSetting, 'sqlite'>, places: SourcePlaces): Promise<DatabaseConnection> {
  if (typeof setting !== 'string') return setting;
  if (setting.includes('://')) return parseDatabaseUrl(setting);
  const source = isName(setting) ? await findDataSource(setting, places) : undefined;
  if (source !== undefined) return source.settings;
  throw new AppError('unknown_data_source', `there is no data source "${printable(setting)}"`, {
    hint: `define it with "waystation datasource add ${isName(setting) ? setting : 'NAME'} …" or name one of "waystation datasource list"`,
  });
}

/** `mysql://user@host[:port]/name[?passwordFile=…&ca=…]`, also `mariadb://`. Throws `config`; a password in it is refused and not repeated. */
export function parseDatabaseUrl(text: string): DatabaseConnection {
  const url = URL.parse(text);
  if (url === null || !['mysql:', 'mariadb:'].includes(url.protocol)) {
    throw new AppError('config', 'the database URL is not mysql://user@host[:port]/name', { hint: 'correct the URL' });
  }
  if (url.password !== '') {
    throw new AppError('config', 'the database URL holds a password', {
      hint: 'put it into a file (?passwordFile=/path) or into WAYSTATION_DATABASE_PASSWORD',
    });
  }
  const unknown = [...url.searchParams.keys()].find((key) => key !== 'passwordFile' && key !== 'ca');
  if (unknown !== undefined) {
    throw new AppError('config', `the database URL has an unknown parameter "${printable(unknown)}"`, {
      hint: 'passwordFile and ca are known',
    });
  }
  return checkSettings(
    {
      hosts: [url.host],
      user: decode(url.username),
      name: decode(url.pathname.slice(1)),
      passwordFile: url.searchParams.get('passwordFile') ?? undefined,
      ca: url.searchParams.get('ca') ?? undefined,
    },
    'the database URL',
  );
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (cause) {
    throw new AppError('config', 'the database URL has a "%" that is no escape', { hint: 'write %25 for a percent sign', cause });
  }
}

/** The directories that are searched, first hit wins. */
export function sourceDirectories(places: SourcePlaces): readonly string[] {
  const system = (places.env ?? process.env).WAYSTATION_DATASOURCES ?? SYSTEM_SOURCES;
  return places.dataDir === undefined ? [system] : [join(places.dataDir, 'datasources.d'), system];
}

export async function findDataSource(name: Name, places: SourcePlaces): Promise<DataSource | undefined> {
  for (const directory of sourceDirectories(places)) {
    const source = await readSource(name, join(directory, `${name}.yaml`));
    if (source !== undefined) return source;
  }
  return undefined;
}

/** Every data source, by name; one in DIR hides the system's of the same name. */
export async function listDataSources(places: SourcePlaces): Promise<readonly DataSource[]> {
  const found = new Map<string, DataSource>();
  for (const directory of sourceDirectories(places)) {
    for (const name of await namesIn(directory)) {
      const source = found.has(name) ? undefined : await readSource(name, join(directory, `${name}.yaml`));
      if (source !== undefined) found.set(name, source);
    }
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Writes a new data source into `directory` (0600). Errors: `name_taken`, `config`. */
export async function addDataSource(directory: string, name: string, settings: unknown): Promise<DataSource> {
  const source = {
    name: parseName(name),
    path: join(directory, `${parseName(name)}.yaml`),
    settings: checkSettings(settings, 'the data source'),
  };
  await mkdir(directory, { recursive: true, mode: 0o755 });
  try {
    await writeFile(source.path, stringify(source.settings), { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new AppError('name_taken', `there is a data source "${name}" already (${source.path})`, {
      hint: 'remove it first or take another name',
      cause: error,
    });
  }
  return source;
}

export async function removeDataSource(name: Name, places: SourcePlaces): Promise<DataSource> {
  const source = await findDataSource(name, places);
  if (source === undefined)
    throw new AppError('not_found', `there is no data source "${name}"`, { hint: 'see waystation datasource list' });
  await rm(source.path);
  return source;
}

async function namesIn(directory: string): Promise<readonly Name[]> {
  try {
    return (await readdir(directory))
      .filter((file) => file.endsWith('.yaml'))
      .map((file) => file.slice(0, -5))
      .filter(isName);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw unreadable(directory, error);
  }
}

async function readSource(name: Name, path: string): Promise<DataSource | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unreadable(path, error);
  }
  return { name, path, settings: checkSettings(parseSource(text, path), path) };
}

function parseSource(text: string, path: string): unknown {
  try {
    return parseYaml(text);
  } catch (cause) {
    throw new AppError('config', `${path} is not YAML`, { hint: 'correct the file, or remove it and add the data source again', cause });
  }
}

function checkSettings(settings: unknown, where: string): DatabaseConnection {
  const result = DatabaseConnection.safeParse(settings);
  if (result.success) return result.data;
  const { message, hint } = explainIssue(result.error, where);
  throw new AppError('config', message, { hint, cause: result.error });
}

async function readPassword(settings: DatabaseConnection, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const { passwordFile } = settings;
  if (passwordFile === undefined) return env.WAYSTATION_DATABASE_PASSWORD;
  const what = `the password file ${passwordFile}`;
  const text = await readFile(passwordFile, 'utf8').catch((error) => {
    throw unreadable(what, error);
  });
  const password = text.replace(/\r?\n$/, '');
  if (password === '') throw unreadable(what, new Error('it is empty'));
  return password;
}

function unreadable(what: string, error: unknown): AppError {
  const reason = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
  return new AppError('unreadable_secret', `cannot read ${what}: ${reason}`, { hint: 'check the path and its rights', cause: error });
}
