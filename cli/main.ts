import { Command, CommanderError } from 'commander';
import { AppError, describeError, EXIT_CODES } from '../core/errors.ts';
import { printable } from '../core/ids.ts';
import { explainDiskFull } from '../server/db/disk-full.ts';
import { createFrame, DEFAULT_DATA_DIR, type Frame, type World } from './frame.ts';
import { cleanText } from './output.ts';

/** Every noun in the order of the help text, with its file, which is loaded when it is typed. */
const COMMANDS: { readonly [noun: string]: () => Promise<CommandModule> } = {
  init: () => import('./commands/init.ts'),
  serve: () => import('./commands/serve.ts'),
  version: () => import('./commands/version.ts'),
  doctor: () => import('./commands/doctor.ts'),
  migrate: () => import('./commands/migrate.ts'),
  logs: () => import('./commands/logs.ts'),
  server: () => import('./commands/server.ts'),
  token: () => import('./commands/token.ts'),
  site: () => import('./commands/site.ts'),
  image: () => import('./commands/image.ts'),
  document: () => import('./commands/document.ts'),
  archive: () => import('./commands/archive.ts'),
  sync: () => import('./commands/sync.ts'),
  target: () => import('./commands/target.ts'),
  order: () => import('./commands/order.ts'),
  engine: () => import('./commands/engine.ts'),
  datasource: () => import('./commands/datasource.ts'),
  store: () => import('./commands/store.ts'),
};

export type CommandModule = { readonly register: (program: Command, frame: Frame) => void };

const EXIT_HELP = `
Exit codes:
  0 done    1 failed    64 usage    65 bad data    66 not found    69 not running or not reachable
  75 temporary: busy, port or directory in use, disk full    76 another version    77 denied    78 configuration    83 paused`;

/**
 * Runs one command line (without program name) and gives its exit code. Nothing is thrown; the failure's one line,
 * or under --json its document, is written.
 */
export async function runCommand(argv: readonly string[], overrides: Partial<World> = {}): Promise<number> {
  const world: World = {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    env: process.env,
    signal: onceForSignals(),
    ...overrides,
  };
  const isJson = argv.includes('--json');
  const program = createProgram(world);
  let exitCode = 0;
  try {
    const frame = createFrame(program, world, (outcome) => {
      exitCode = typeof outcome === 'number' ? outcome : EXIT_CODES[outcome];
    });
    await registerCommands(program, frame, argv);
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    return report(world, isJson, error);
  }
}

function createProgram(world: World): Command {
  return new Command('waystation')
    .description('Operating systems onto bare machines at many sites.')
    .option('--data <dir>', `data directory (default ${DEFAULT_DATA_DIR}, or WAYSTATION_DATA)`)
    .option('--url <url>', 'talk to the server at this HTTPS address instead (or WAYSTATION_URL)')
    .option('--token-file <file>', 'operator token for --url, - for standard input (or WAYSTATION_TOKEN)')
    .option('--ca-pin <digest>', "fingerprint of that server's CA, as its init printed it (or WAYSTATION_CA_PIN)")
    .option('--json', 'one JSON document on standard output')
    .addHelpText('after', EXIT_HELP)
    .configureOutput({
      writeOut: (text) => world.stdout.write(text),
      writeErr: (text) => world.stderr.write(text),
      outputError: () => undefined,
    })
    .showHelpAfterError(false)
    .helpCommand(true)
    .exitOverride()
    .hook('preAction', (root, action) => refuseContradiction(root, action))
    .hook('preAction', (_root, action) => refuseEmpty(action))
    .action(() => {
      throw new AppError('usage', 'no command was given', { hint: 'see waystation --help' });
    });
}

/** `--url` of `datasource` is the database's, so there is nothing to contradict. */
function refuseContradiction(root: Command, action: Command): void {
  const { data, url } = root.opts<{ data?: string; url?: string }>();
  if (data === undefined || url === undefined || action.parent?.name() === 'datasource') return;
  throw new AppError('usage', '--data and --url name two servers', { hint: 'give one of them' });
}

/** A variable of a script that is not set: an empty name would ask for the list instead. Settings may be empty, which takes them back. */
function refuseEmpty(action: Command): void {
  const words = action.args.flat();
  const at = words.findIndex((word) => word === '');
  const name = action.registeredArguments[Math.min(at, action.registeredArguments.length - 1)]?.name();
  if (at < 0 || name === undefined || SETTINGS.includes(name)) return;
  throw new AppError('usage', `an empty word was given for <${name}>`, { hint: `see waystation ${pathOf(action)} --help` });
}

const SETTINGS = ['cron', 'mbit'];

function pathOf(command: Command): string {
  return command.parent?.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}

/** Loads the file of the noun that was typed; all of them for help and for typing errors. */
async function registerCommands(program: Command, frame: Frame, argv: readonly string[]): Promise<void> {
  const word = firstWord(argv);
  const typed = word === undefined || !Object.hasOwn(COMMANDS, word) ? undefined : COMMANDS[word];
  if (typed === undefined && word !== undefined && word !== 'help') {
    throw new AppError('usage', `there is no command "${printable(word)}"`, { hint: 'see waystation --help' });
  }
  for (const load of typed === undefined ? Object.values(COMMANDS) : [typed]) (await load()).register(program, frame);
}

function firstWord(argv: readonly string[]): string | undefined {
  const withValue = ['--data', '--url', '--token-file', '--ca-pin'];
  for (let n = 0; n < argv.length; n++) {
    const word = argv[n] as string;
    if (withValue.includes(word)) n++;
    else if (!word.startsWith('-')) return word;
  }
  return undefined;
}

function report(world: World, isJson: boolean, error: unknown): number {
  const described = describeError(explainDiskFull(asUsage(error)));
  if (isJson)
    world.stdout.write(
      `${JSON.stringify({ error: { code: described.code, message: described.message, hint: described.hint ?? null } })}\n`,
    );
  else world.stderr.write(`waystation: ${oneLine(`${described.message}${described.hint ? ` (${described.hint})` : ''}`)}\n`);
  if (described.code === 'failed' && world.env['DEBUG'] && error instanceof Error) world.stderr.write(`${error.stack}\n`);
  return EXIT_CODES[described.code];
}

/** An error may quote a file's name, a peer's words or a program's output. */
function oneLine(text: string): string {
  return cleanText(text.trim().replaceAll(/\s+/g, ' '));
}

/** commander's refusals in our form: unknown options and commands, missing arguments, a noun without a verb. */
function asUsage(error: unknown): unknown {
  if (!(error instanceof CommanderError)) return error;
  const message = error.code === 'commander.help' ? 'a verb is missing' : error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  return new AppError('usage', message, { hint: 'see --help', cause: error });
}

/** The signal for commands that look at it; the process keeps its usual way to die until one does. */
function onceForSignals(): () => AbortSignal {
  let controller: AbortController | undefined;
  return () => {
    if (controller === undefined) {
      const created = new AbortController();
      for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => created.abort());
      controller = created;
    }
    return controller.signal;
  };
}

if (import.meta.main) {
  // A reader that went away (a pager, a log collector) ends neither the work nor the server.
  let lost: NodeJS.ErrnoException | undefined;
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => (lost ??= error));
  const code = await runCommand(process.argv.slice(2));
  process.stdout.write('', (error) => {
    const { code: why = 'EPIPE' } = lost ?? (error as NodeJS.ErrnoException | null | undefined) ?? {};
    if (code !== 0 || why === 'EPIPE') process.exit(code);
    // The work is done, but a token or a document that nobody can read is no success.
    process.stderr.write(`waystation: the result could not be written to standard output: ${why} (free space and repeat it)\n`);
    process.exit(EXIT_CODES[why === 'ENOSPC' ? 'disk_full' : 'failed']);
  });
}
