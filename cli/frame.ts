import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import type { Readable } from 'node:stream';
import type { Command } from 'commander';
import type { Json } from '../core/canonical-json.ts';
import { AppError, type ErrorCode } from '../core/errors.ts';
import type { Site } from '../server/site.ts';
import { type Client, connectLocal, connectUrl, isListening } from './client.ts';
import { createBar, type ProgressBar } from './progress-bar.ts';

export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

/** The world of one command: tests give their own. */
export type World = {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly env: NodeJS.ProcessEnv;
  readonly signal: () => AbortSignal;
};

/** A command works through a running server, or on the directory itself. */
export type Reached = { readonly kind: 'client'; readonly client: Client } | { readonly kind: 'site'; readonly site: Site };

/**
 * What commands get besides their arguments. Members that depend on the global options are to be used in the
 * command's action, not while it registers.
 */
export type Frame = {
  readonly env: NodeJS.ProcessEnv;
  readonly stdout: Output;
  readonly stderr: Output;
  /** --data, WAYSTATION_DATA, or /var/lib/waystation. */
  readonly dataDir: string;
  /** Whether --data or WAYSTATION_DATA was given. */
  readonly isDataDirGiven: boolean;
  /** --url or WAYSTATION_URL. */
  readonly url: string | undefined;
  readonly json: boolean;
  /** Aborted by SIGINT and SIGTERM; a command that looks at it must end soon after. */
  readonly signal: AbortSignal;
  /** The API of a running server. Errors: `not_running` (start `waystation serve`), `unreachable`, `denied`. */
  connect(): Promise<Client>;
  /** Whether a server answers: always with --url, else when DIR/run/api.sock does. */
  isServerUp(): Promise<boolean>;
  /** Opens the directory under its lock; the caller closes it. Refused (`usage`) with --url. */
  openSiteOffline(): Promise<Site>;
  /** For commands that work with the server up and down. The caller closes a site. */
  reach(): Promise<Reached>;
  /** The command's one result: `value` under --json, else `human` (nothing when it is empty). */
  print(value: Json, human?: string | (() => string)): void;
  /** For a result that is printed and yet no success (a mismatch, a partial run): the exit code is this code's. */
  setOutcome(outcome: ErrorCode | number): void;
  /** A line for people that is not the result; on stderr, silent under --json. */
  say(line: string): void;
  /** A bar on a terminal's stderr, nothing elsewhere. */
  progress(label: string): ProgressBar;
  /** Asks on a terminal; elsewhere --yes (`isAgreed`) is needed. Throws `usage` without it and `cancelled` on no. */
  confirm(question: string, isAgreed: boolean): Promise<void>;
  /** The text of a secret from a file or `-` (standard input), without its last line end. Errors: `unreadable_secret`. */
  readSecret(source: string, what: string): Promise<string>;
  /** All of standard input. */
  readText(): Promise<string>;
};

type Globals = { data?: string; url?: string; json?: boolean; tokenFile?: string; caPin?: string };

export const DEFAULT_DATA_DIR = '/var/lib/waystation';

export function createFrame(program: Command, world: World, setOutcome: (outcome: ErrorCode | number) => void): Frame {
  const globals = (): Globals => program.opts<Globals>();
  const { env, stdout, stderr } = world;
  const frame: Frame = {
    env,
    stdout,
    stderr,
    get dataDir() {
      return globals().data ?? (env['WAYSTATION_DATA'] || DEFAULT_DATA_DIR);
    },
    get isDataDirGiven() {
      return globals().data !== undefined || Boolean(env['WAYSTATION_DATA']);
    },
    get url() {
      if (globals().url !== undefined) return globals().url;
      return globals().data === undefined ? env['WAYSTATION_URL'] || undefined : undefined;
    },
    get json() {
      return globals().json ?? false;
    },
    get signal() {
      return world.signal();
    },
    connect: async () => (frame.url === undefined ? connectLocal(frame.dataDir) : connectRemote(frame, globals())),
    isServerUp: async () => frame.url !== undefined || isListening(frame.dataDir),
    openSiteOffline: () => openOffline(frame),
    reach: async () =>
      (await frame.isServerUp())
        ? { kind: 'client', client: await frame.connect() }
        : { kind: 'site', site: await frame.openSiteOffline() },
    print: (value, human) => {
      if (frame.json) stdout.write(`${JSON.stringify(value)}\n`);
      else stdout.write(withLineEnd(typeof human === 'function' ? human() : (human ?? '')));
    },
    setOutcome,
    say: (line) => {
      if (!frame.json) stderr.write(`${line}\n`);
    },
    progress: (label) => createBar(label, frame.json ? undefined : stderr),
    confirm: (question, isAgreed) => confirm(world, question, isAgreed),
    readSecret: (source, what) => readSecret(world, source, what),
    readText: () => readAll(world.stdin),
  };
  return frame;
}

async function connectRemote(frame: Frame, globals: Globals): Promise<Client> {
  const tokenFile = globals.tokenFile;
  const token = tokenFile === undefined ? frame.env['WAYSTATION_TOKEN'] : await frame.readSecret(tokenFile, 'the token');
  const pin = globals.caPin ?? frame.env['WAYSTATION_CA_PIN'];
  return connectUrl(frame.url as string, { ...(token ? { token } : {}), ...(pin ? { caPin: pin } : {}) });
}

async function openOffline(frame: Frame): Promise<Site> {
  if (frame.url !== undefined)
    throw new AppError('usage', 'this works on a data directory, not through --url', { hint: 'name one with --data' });
  const { openSite } = await import('../server/open-site.ts');
  return openSite({ dataDir: frame.dataDir, env: frame.env });
}

function withLineEnd(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}

async function confirm(world: World, question: string, isAgreed: boolean): Promise<void> {
  if (isAgreed) return;
  if (!world.stdin.isTTY || !world.stderr.isTTY) {
    throw new AppError('usage', `${question} Nobody can be asked here.`, { hint: 'repeat it with --yes' });
  }
  const lines = createInterface({ input: world.stdin, output: world.stderr });
  try {
    const answer = await lines.question(`${question} [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new AppError('cancelled', 'nothing was changed');
  } finally {
    lines.close();
  }
}

async function readSecret(world: World, source: string, what: string): Promise<string> {
  const text = source === '-' ? await readAll(world.stdin) : readFile(source, what);
  const secret = text.replace(/\r?\n$/, '');
  if (secret === '') throw new AppError('unreadable_secret', `${what} in ${source} is empty`, { hint: 'check the file' });
  return secret;
}

function readFile(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new AppError('unreadable_secret', `cannot read ${what} from ${path}: ${(error as NodeJS.ErrnoException).code}`, {
      hint: 'check the path and its rights',
      cause: error,
    });
  }
}

async function readAll(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}
