import type { Id } from '../../core/ids.ts';
import { buildConfig, type Config, loadConfig } from '../config.ts';
import { pxeInterfaces } from '../launcher/launch.ts';
import { findServerId } from '../server-id.ts';
import { checkClock } from './clock.ts';
import { checkDatabase } from './database.ts';
import { checkDhcp } from './dhcp.ts';
import { checkDisk } from './disk.ts';
import { type Finding, fail, failWith, ok, warn } from './finding.ts';
import { checkKeys } from './keys.ts';
import { checkPorts } from './ports.ts';
import { checkPrograms } from './programs.ts';
import { checkRights } from './rights.ts';

export type DoctorOptions = {
  readonly dataDir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly isServerUp: boolean;
  readonly now: () => number;
};

/**
 * Looks at everything a server needs and changes nothing: ports, rights, programs, disk, clock, keys, database,
 * other DHCP servers. Works with the server up and down, before and after `init`. Never throws for what it finds.
 */
export async function examine(options: DoctorOptions): Promise<readonly Finding[]> {
  const { dataDir, env, isServerUp, now } = options;
  const configuration = await readConfiguration(dataDir, env);
  const { config } = configuration;
  const { serverId, finding: directory } = await readDirectory(options);
  const groups = await Promise.all([
    checkRights(config),
    checkPorts(config, isServerUp),
    checkPrograms(env),
    checkDisk(dataDir, config.storeReserveBytes),
    checkClock(dataDir, now()),
    serverId === undefined ? [] : checkKeys(dataDir, serverId, now()),
    serverId === undefined ? [] : checkDatabase(config, dataDir, env),
    checkDhcp(config, () => pxeInterfaces(config)),
  ]);
  return [checkNode(), directory, ...configuration.findings, ...groups.flat()];
}

async function readDirectory({ dataDir, isServerUp }: DoctorOptions): Promise<{ serverId: Id | undefined; finding: Finding }> {
  const name = 'data directory';
  try {
    const serverId = await findServerId(dataDir);
    const finding =
      serverId === undefined
        ? warn(name, `there is no server in ${dataDir}`, `run waystation init --data ${dataDir}`)
        : ok(name, `${dataDir}, server ${serverId}${isServerUp ? ', running' : ', not running'}`);
    return { serverId, finding };
  } catch (error) {
    return { serverId: undefined, finding: failWith(name, error) };
  }
}

/** With a broken configuration the rest is looked at with the defaults, so that all findings come at once. */
async function readConfiguration(dataDir: string, env: NodeJS.ProcessEnv): Promise<{ config: Config; findings: Finding[] }> {
  try {
    return { config: await loadConfig({ dataDir, env }), findings: [ok('configuration', 'every key is known')] };
  } catch (error) {
    return { config: buildConfig([]), findings: [failWith('configuration', error)] };
  }
}

function checkNode(): Finding {
  const { node } = process.versions;
  return Number(node.split('.')[0]) >= 24
    ? ok('node', node)
    : fail('node', `Node ${node} is too old`, 'start cli/waystation, which uses the pinned Node');
}
