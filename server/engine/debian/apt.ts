import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../../core/errors.ts';
import type { Arch } from '../../../core/image.ts';
import { type DebianSources, type HostSource, selectDebianSources } from './apt-sources.ts';
import { runCommand } from './command-process.ts';

/**
 * A private apt: the host's sources, keyrings, proxies and credentials, but its own lists, cache and an
 * empty dpkg status. So it resolves a whole closure, needs no root, and never touches the host's packages.
 * Lists lie in directories that are complete once they have their name, so several processes may use one cache.
 */
export type Apt = { readonly stateDir: string; readonly configFile: string };

const LISTS_MAX_AGE_MS = 12 * 3_600_000;

async function readSources(etc: string): Promise<HostSource[]> {
  const parts = join(etc, 'sources.list.d');
  const names = await readdir(parts).catch(() => [] as string[]);
  const files = ['sources.list', ...names.sort().map((name) => join('sources.list.d', name))];
  const texts = await Promise.all(files.map((name) => readFile(join(etc, name), 'utf8').catch(() => '')));
  return files.map((name, index) => ({ name, text: texts[index] ?? '' }));
}

async function readCodename(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  return text.match(/^VERSION_CODENAME="?([a-z]+)"?$/m)?.[1] ?? '';
}

async function hostSources(): Promise<{ codename: string; sources: DebianSources }> {
  const codename = await readCodename();
  const sources = selectDebianSources(await readSources('/etc/apt'), codename);
  if (sources.list === '' && sources.stanzas === '') {
    throw new AppError('config', `no Debian package source for "${codename}" in /etc/apt`, {
      hint: 'the engine is built from Debian packages: run this on Debian 12 or later with its archive in /etc/apt/sources.list.d',
    });
  }
  return { codename, sources };
}

/** Hooks of the host's apt (package caches, desktop catalogues) have no business here. */
const CLEARED = [
  'APT::Update::Pre-Invoke',
  'APT::Update::Post-Invoke',
  'APT::Update::Post-Invoke-Success',
  'DPkg::Pre-Invoke',
  'DPkg::Post-Invoke',
  'DPkg::Pre-Install-Pkgs',
  'APT::Default-Release',
];

function aptConfig(stateDir: string, arch: Arch): string {
  const settings: Record<string, string> = {
    'Dir::State': stateDir,
    'Dir::State::lists': `${stateDir}/lists`,
    'Dir::State::status': `${stateDir}/status`,
    'Dir::State::extended_states': `${stateDir}/extended`,
    'Dir::Cache': `${stateDir}/cache`,
    'Dir::Cache::archives': `${stateDir}/cache/archives`,
    'Dir::Cache::pkgcache': '',
    'Dir::Cache::srcpkgcache': '',
    'Dir::Etc::sourcelist': `${stateDir}/sources.list`,
    'Dir::Etc::sourceparts': `${stateDir}/sources.d`,
    'Dir::Etc::preferences': `${stateDir}/preferences`,
    'Dir::Etc::preferencesparts': '/dev/null',
    'APT::Architecture': arch,
    // The state directory may lie where apt's own download user cannot reach.
    'APT::Sandbox::User': 'root',
    'APT::Install-Recommends': 'false',
    'APT::Install-Suggests': 'false',
    'Acquire::Languages': 'none',
    'Acquire::ForceHash': 'SHA256',
    'Acquire::Retries': '3',
    'Debug::NoLocking': 'true',
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";`);
  return `${CLEARED.map((name) => `#clear ${name};\n`).join('')}#clear APT::Architectures;\nAPT::Architectures { "${arch}"; };\n${lines.join('\n')}\n`;
}

/** Second guard after the choice of suites: a release file that does not say Debian gives no packages. */
const PREFERENCES = 'Package: *\nPin: release o=Debian\nPin-Priority: 900\n\nPackage: *\nPin: release a=*\nPin-Priority: -1\n';

async function writeState(stateDir: string, arch: Arch, sources: DebianSources): Promise<void> {
  await mkdir(join(stateDir, 'lists/partial'), { recursive: true });
  await mkdir(join(stateDir, 'cache/archives/partial'), { recursive: true });
  await mkdir(join(stateDir, 'sources.d'));
  await writeFile(join(stateDir, 'sources.list'), sources.list);
  await writeFile(join(stateDir, 'sources.d/debian.sources'), sources.stanzas);
  await writeFile(join(stateDir, 'preferences'), PREFERENCES);
  await writeFile(join(stateDir, 'status'), '');
  await writeFile(join(stateDir, 'apt.conf'), aptConfig(stateDir, arch));
}

async function refresh(parent: string, arch: Arch, sources: DebianSources, signal?: AbortSignal): Promise<string> {
  const fresh = join(parent, `new-${randomBytes(6).toString('hex')}`);
  await writeState(fresh, arch, sources);
  try {
    await runApt({ stateDir: fresh, configFile: join(fresh, 'apt.conf') }, ['update', '--error-on=any'], signal ? { signal } : {});
    const stateDir = join(parent, `${Date.now()}-${randomBytes(3).toString('hex')}`);
    await writeFile(join(fresh, 'apt.conf'), aptConfig(stateDir, arch));
    await rename(fresh, stateDir);
    return stateDir;
  } catch (cause) {
    await rm(fresh, { recursive: true, force: true });
    throw cause;
  }
}

async function newestState(parent: string): Promise<{ dir: string; at: number } | undefined> {
  const names = await readdir(parent).catch(() => [] as string[]);
  const complete = names.filter((name) => /^\d{13}-/.test(name)).sort();
  for (const old of complete.slice(0, -3)) await rm(join(parent, old), { recursive: true, force: true });
  const last = complete.at(-1);
  return last === undefined ? undefined : { dir: join(parent, last), at: Number(last.slice(0, 13)) };
}

/**
 * Opens the private apt under `cacheDir`, with package lists at most 12 hours old; `mustRefresh` gets new ones
 * now. Without a network, older lists do. Errors: `config` (not a Debian host), `unreachable` (no lists at all).
 */
export async function openApt(options: { cacheDir: string; arch: Arch; mustRefresh?: boolean; signal?: AbortSignal }): Promise<Apt> {
  const { codename, sources } = await hostSources();
  const key = createHash('sha256').update(JSON.stringify(sources)).digest('hex').slice(0, 12);
  const parent = join(options.cacheDir, 'apt', `${codename}-${options.arch}-${key}`);
  await mkdir(parent, { recursive: true });
  const newest = await newestState(parent);
  const young = newest !== undefined && Date.now() - newest.at < LISTS_MAX_AGE_MS;
  const stateDir = young && !options.mustRefresh ? newest.dir : await refreshOrOlder(parent, newest?.dir, sources, options);
  return { stateDir, configFile: join(stateDir, 'apt.conf') };
}

async function refreshOrOlder(
  parent: string,
  older: string | undefined,
  sources: DebianSources,
  options: { arch: Arch; signal?: AbortSignal },
): Promise<string> {
  try {
    return await refresh(parent, options.arch, sources, options.signal);
  } catch (cause) {
    if (cause instanceof AppError && cause.code === 'missing_program') throw cause;
    if (older !== undefined) return older;
    const words = cause instanceof Error ? cause.message : String(cause);
    throw new AppError('unreachable', `cannot get Debian's package lists: ${words}`, {
      hint: 'check that "apt-get update" works on this machine',
      cause,
    });
  }
}

/**
 * Runs apt-get with the private configuration and gives its standard output. Errors: `unreachable` when a
 * package can't be fetched, else those of `runCommand`.
 */
export async function runApt(apt: Apt, args: readonly string[], options: { cwd?: string; signal?: AbortSignal } = {}): Promise<string> {
  try {
    return await startApt(apt, args, options);
  } catch (cause) {
    if (!(cause instanceof AppError) || !/Failed to fetch|Unable to fetch/.test(cause.message)) throw cause;
    throw new AppError('unreachable', cause.message, { hint: 'check that "apt-get update" works on this machine', cause });
  }
}

function startApt(apt: Apt, args: readonly string[], options: { cwd?: string; signal?: AbortSignal }): Promise<string> {
  return runCommand({
    program: 'apt-get',
    label: `apt-get ${args[0] ?? ''}`,
    args: ['-q', '-q', '-c', apt.configFile, ...args],
    env: { DEBIAN_FRONTEND: 'noninteractive' },
    ...options,
  });
}
