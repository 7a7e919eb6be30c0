import { access } from 'node:fs/promises';
import { type Finding, fail, ok, warn } from './finding.ts';
import { askVersion } from './version-process.ts';

type Program = { readonly name: string; readonly debian: string; readonly why: string; readonly isRequired: boolean };

const OLDEST_RSYNC = [3, 4, 1] as const;
const LOADERS = ['/usr/lib/ipxe/undionly.kpxe', '/usr/lib/ipxe/snponly.efi'];

/** The programs that a server calls, with the Debian package to install where one is missing. */
export async function checkPrograms(env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  const programs: readonly Program[] = [
    { name: 'rsync', debian: 'rsync', why: 'replication goes through it', isRequired: true },
    { name: 'flock', debian: 'util-linux', why: 'keeps a second rsync from a part', isRequired: true },
    { name: 'qemu-img', debian: 'qemu-utils', why: 'reads qcow2 images on import', isRequired: false },
    { name: 'dpkg-deb', debian: 'dpkg', why: 'unpacks packages for engine build', isRequired: false },
    { name: 'perl', debian: 'perl-base', why: 'joins rsync with the link, opens the sockets of the PXE answer', isRequired: true },
  ];
  return Promise.all([...programs.map((program) => checkProgram(program, env)), ...LOADERS.map(checkLoader)]);
}

async function checkProgram({ name, debian, why, isRequired }: Program, env: NodeJS.ProcessEnv): Promise<Finding> {
  const answer = await askVersion(name, env);
  if ('failure' in answer) {
    const message = answer.failure === 'ENOENT' ? `not installed: ${why}` : `does not run (${answer.failure}): ${why}`;
    return (isRequired ? fail : warn)(`program ${name}`, message, `apt-get install ${debian}`);
  }
  const version = parseVersion(answer.text);
  if (name === 'rsync' && version !== undefined && isOlder(version, OLDEST_RSYNC)) {
    return warn(
      'program rsync',
      `${version.join('.')} has known holes`,
      `install ${OLDEST_RSYNC.join('.')} or later (a security update of Debian)`,
    );
  }
  return ok(`program ${name}`, version === undefined ? 'installed' : version.join('.'));
}

async function checkLoader(path: string): Promise<Finding> {
  try {
    await access(path);
    return ok('boot loader', path);
  } catch {
    // What matters is that firmware cannot be given this file, whatever the reason.
    return warn('boot loader', `${path} is missing: machines that need it cannot boot from the network`, 'apt-get install ipxe');
  }
}

/** The first dotted number in a version text. */
export function parseVersion(text: string): readonly number[] | undefined {
  return /(?:^|[^\d.])(\d+(?:\.\d+)+)/.exec(text)?.[1]?.split('.').map(Number);
}

export function isOlder(version: readonly number[], than: readonly number[]): boolean {
  for (let n = 0; n < Math.max(version.length, than.length); n++) {
    const difference = (version[n] ?? 0) - (than[n] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
