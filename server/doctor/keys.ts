import type { Id } from '../../core/ids.ts';
import { openKeys } from '../trust/keys.ts';
import { type Finding, fail, failWith, ok } from './finding.ts';

/** The key files can be read and belong together, and the server's certificate is in force. */
export async function checkKeys(dataDir: string, serverId: Id, now: number): Promise<readonly Finding[]> {
  try {
    const keys = await openKeys(dataDir, serverId);
    const { from, to } = keys.leafValidity();
    if (now < from) return [fail('keys', `the certificate is valid from ${new Date(from).toISOString()} only`, 'set the clock')];
    if (now > to) return [ok('keys', `the certificate ended at ${new Date(to).toISOString()}; serve renews it when it starts`)];
    return [ok('keys', `${keys.caPin}, certificate until ${new Date(to).toISOString()}`)];
  } catch (error) {
    return [failWith('keys', error)];
  }
}
