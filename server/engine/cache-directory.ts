import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Where Debian packages and what is made of them are kept between builds: WAYSTATION_CACHE, else
 * $XDG_CACHE_HOME/waystation, else ~/.cache/waystation. Everything in it can be fetched or made again.
 */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return env['WAYSTATION_CACHE'] || join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'waystation');
}
