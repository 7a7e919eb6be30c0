import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { loadConfig } from '../../server/config.ts';
import { needsLauncher } from '../../server/launcher/launch.ts';
import { reexecUnderLauncher } from '../../server/launcher/launch-process.ts';
import { openSite } from '../../server/open-site.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import type { Frame } from '../frame.ts';
import { details } from '../output.ts';
import { wholeNumber } from '../parse.ts';

type Options = { httpPort?: number; httpsPort?: number; tftpPort?: number };

/** A stop that takes longer than this is given up: a service manager would kill us anyway. */
const STOP_LIMIT_MS = 9500;

export function register(program: Command, frame: Frame): void {
  program
    .command('serve')
    .description('run the server until SIGTERM or SIGINT')
    .option('--http-port <port>', 'instead of httpPort in waystation.yaml; 0 = any free port', wholeNumber)
    .option('--https-port <port>', 'instead of httpsPort', wholeNumber)
    .option('--tftp-port <port>', 'instead of tftpPort', wholeNumber)
    .addHelpText(
      'after',
      `
The log goes to DIR/log and, as JSON lines, to standard output. With --json the first and only line of standard
output is {httpUrl, httpsUrl, tftpPort}; the log then goes to DIR/log alone.
Exit codes: 0 stopped as told, 1 the stop was given up, 66 not initialised, 75 port or directory in use, 78 configuration`,
    )
    .action((options: Options) => run(frame, options));
}

async function run(frame: Frame, options: Options): Promise<void> {
  // Before anything is opened or locked: the launcher replaces this process and starts the same command again.
  const config = await loadConfig({ dataDir: frame.dataDir, env: frame.env, flags: options });
  if (needsLauncher(config, frame.env)) reexecUnderLauncher(config, { json: frame.json });
  const { signal } = frame;
  const site = await openSite({ dataDir: frame.dataDir, env: frame.env, flags: options, logToStdout: !frame.json });
  try {
    const serving = await startServe(site);
    announce(frame, serving);
    await aborted(signal);
    await stop(site, serving);
  } finally {
    await site.close();
  }
}

function announce(frame: Frame, { httpUrl, httpsUrl, tftpPort }: Serving): void {
  frame.print({ httpUrl, httpsUrl, tftpPort }, () =>
    details([
      ['boot', httpUrl],
      ['api', httpsUrl],
      ['tftp port', tftpPort],
    ]),
  );
}

async function stop(site: Site, serving: Serving): Promise<void> {
  site.log.info('stopping');
  const gaveUp = new AbortController();
  const limit = sleep(STOP_LIMIT_MS, 'late', { signal: gaveUp.signal, ref: false }).catch(() => 'in time');
  const ended = await Promise.race([serving.close().then(() => 'in time'), limit]);
  gaveUp.abort();
  if (ended === 'late') {
    site.log.error('the stop was given up: a part of serve does not end');
    process.exit(1);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
