import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { describeError, EXIT_CODES } from '../../core/errors.ts';
import { loadConfig } from '../../server/config.ts';
import { needsLauncher } from '../../server/launcher/launch.ts';
import { reexecUnderLauncher } from '../../server/launcher/launch-process.ts';
import { closeLog } from '../../server/log.ts';
import { openSite } from '../../server/open-site.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import type { Frame } from '../frame.ts';
import { cleanText, details } from '../output.ts';
import { wholeNumber } from '../parse.ts';

type Options = { httpPort?: number; httpsPort?: number; tftpPort?: number };

/** A stop that takes longer than this is given up: a service manager would kill us anyway. */
const STOP_LIMIT_MS = 9500;
/** How long the last lines have to reach the file of the log. */
const LAST_LINES_MS = 1000;

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
Exit codes: 0 stopped as told, 1 the stop was given up, or a failure of ours (its line in the log has more), 66 not initialised, 75 port or directory in use, 78 configuration`,
    )
    .action((options: Options) => run(frame, options));
}

async function run(frame: Frame, options: Options): Promise<void> {
  // Before anything is opened or locked: the launcher replaces this process and starts the same command again.
  const config = await loadConfig({ dataDir: frame.dataDir, env: frame.env, flags: options });
  if (needsLauncher(config, frame.env)) reexecUnderLauncher(config, { json: frame.json });
  const { signal } = frame;
  const site = await openSite({ dataDir: frame.dataDir, env: frame.env, flags: options, logToStdout: !frame.json });
  const forgive = endOnFailure(frame, site);
  try {
    const serving = await startServe(site);
    announce(frame, serving);
    await aborted(signal);
    await stop(site, serving);
  } finally {
    await site.close();
    forgive();
  }
}

/**
 * What nobody of ours has caught ends serve: how things stand after it is not known, and what is on disk is made for a sudden end. One line says so,
 * the log has more, and the service manager starts serve anew. Returns how to take that back.
 */
function endOnFailure({ stderr }: Frame, site: Site): () => void {
  const end = (error: unknown) => {
    const { message } = describeError(error);
    site.log.error('serve ends by a failure of its own', { error: message, stack: error instanceof Error ? error.stack : undefined });
    stderr.write(
      `waystation: serve ends by a failure of its own: ${cleanText(message.replaceAll(/\s+/g, ' '))} (see the log, and report it)\n`,
    );
    void leave(site);
  };
  // Rejections that nobody took come here as well.
  process.on('uncaughtException', end);
  return () => process.off('uncaughtException', end);
}

async function leave(site: Site): Promise<void> {
  await Promise.race([closeLog(site.log), sleep(LAST_LINES_MS)]);
  process.exit(EXIT_CODES.failed);
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
  const stopped = serving.close().then(() => site.close());
  const ended = await Promise.race([stopped.then(() => 'in time'), limit]);
  gaveUp.abort();
  if (ended !== 'late') return;
  site.log.error('the stop was given up: a part of serve does not end');
  await leave(site);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
