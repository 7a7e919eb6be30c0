import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import winston, { type Logger } from 'winston';
import { redact } from './log-redaction.ts';

export const LOG_FILE = 'waystation.log';
const MAX_FILE_BYTES = 10 * 1024 * 1024;
const MAX_FILES = 10;

export type LogOptions = {
  /** Files go to DIR/log; without it there are none. */
  readonly dataDir?: string;
  readonly level?: string;
  readonly toStdout?: boolean;
};

/**
 * The program's log: one JSON object per line with `time`, `level`, `event` (the message) and fields; `runId`,
 * `orderId` and `targetId` are the names that `waystation logs` filters by. Values of secret-looking fields
 * are masked before they leave. Ended by `closeLog`.
 */
export function createLog(options: LogOptions = {}): Logger {
  const transports: winston.transport[] = [];
  if (options.toStdout) transports.push(new winston.transports.Console({ stderrLevels: [], forceConsole: false }));
  if (options.dataDir !== undefined) transports.push(fileTransport(join(options.dataDir, 'log')));
  const log = winston.createLogger({
    level: options.level ?? 'info',
    format: winston.format.combine(lineFormat(), winston.format.json()),
    transports,
    silent: transports.length === 0,
    exitOnError: false,
  });
  // A full or lost log disk must not end the server: the lines are lost, the work is not.
  log.on('error', (error: Error) => process.stderr.write(`cannot write the log: ${error.message}\n`));
  return log;
}

/** Resolves when every line is in the file. May be called twice. */
export async function closeLog(log: Logger): Promise<void> {
  const files = log.transports.filter((transport) => transport instanceof winston.transports.File && !transport.writableFinished);
  const finished = files.map((transport) => new Promise((resolve) => transport.once('finish', resolve)));
  log.end();
  await Promise.all(finished);
}

function fileTransport(directory: string): winston.transport {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return new winston.transports.File({
    filename: join(directory, LOG_FILE),
    maxsize: MAX_FILE_BYTES,
    maxFiles: MAX_FILES,
    tailable: true,
    options: { flags: 'a', mode: 0o600 },
  });
}

const lineFormat = winston.format((info) => {
  const { level, message, ...fields } = info;
  return { ...(redact(fields) as object), level, time: new Date().toISOString(), event: message, message, [Symbol.for('level')]: level };
});
