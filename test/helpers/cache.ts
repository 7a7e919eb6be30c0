import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Where Debian packages and finished disks are kept between runs: WAYSTATION_CACHE, or what the XDG base
 * directory specification names, like the command line's own default.
 */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return env['WAYSTATION_CACHE'] || join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'waystation');
}
