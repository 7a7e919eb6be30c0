import { join } from 'node:path';
import { initialise } from '../../server/initialise.ts';
import { CLEAN_ENV } from './run-cli.ts';
import { temporaryDirectory } from './temp-directory.ts';

/** An initialised data directory on any free ports, gone after the test. */
export async function initialisedDirectory(): Promise<{ dataDir: string; token: string; fingerprint: string }> {
  const dataDir = join(await temporaryDirectory('site'), 'data');
  const flags = { name: 'hq', httpPort: 0, httpsPort: 0, tftpPort: 0 } as const;
  const { token, fingerprint } = await initialise({ dataDir, flags, env: CLEAN_ENV });
  return { dataDir, token, fingerprint };
}
