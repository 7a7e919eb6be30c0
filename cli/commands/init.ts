import type { Command } from 'commander';
import { AppError } from '../../core/errors.ts';
import { initialise } from '../../server/initialise.ts';
import type { Frame } from '../frame.ts';
import { details } from '../output.ts';
import { oneOf, wholeNumber } from '../parse.ts';

type Options = {
  name?: string;
  httpPort?: number;
  httpsPort?: number;
  tftpPort?: number;
  pxe?: 'off' | 'proxy';
  interface?: string[];
  database?: string;
};

export function register(program: Command, frame: Frame): void {
  program
    .command('init')
    .description('make a data directory: keys, database, the first operator token')
    .option('--name <name>', "the server's name (default waystation)")
    .option('--http-port <port>', 'boot files and scripts, plain (default 80; 0 = any free port)', wholeNumber)
    .option('--https-port <port>', 'API, agents, replication (default 443)', wholeNumber)
    .option('--tftp-port <port>', 'TFTP (default 69)', wholeNumber)
    .option('--pxe <mode>', 'off, or proxy: answer PXE clients beside a DHCP server (default off)', oneOf('off', 'proxy'))
    .option('--interface <name>', 'interface for PXE answers; may be repeated', (name: string, names: string[] = []) => [...names, name])
    .option('--database <where>', "sqlite, a data source's name, or mysql://user@host/name (default: data source waystation, else sqlite)")
    .addHelpText('after', '\nExit codes: 0 done, 65 there is a server already, 75 disk full or directory in use, 78 configuration')
    .action(async (options: Options) => run(frame, options));
}

async function run(frame: Frame, { interface: interfaces, ...options }: Options): Promise<void> {
  if (frame.url !== undefined) throw new AppError('usage', 'init works on a data directory', { hint: 'name one with --data' });
  const made = await initialise({ dataDir: frame.dataDir, flags: { ...options, interfaces }, env: frame.env });
  if (made.isDefaultSource) frame.say('using the data source "waystation" for the database');
  const { serverId, fingerprint, token } = made;
  frame.print({ serverId, fingerprint, token }, () =>
    [
      details([
        ['server', serverId],
        ['name', made.name],
        ['directory', frame.dataDir],
        ['fingerprint', fingerprint],
        ['token', token],
      ]),
      'The token is shown this once; whoever has it administers this server.',
    ].join('\n'),
  );
}
