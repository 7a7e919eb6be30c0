import { once } from 'node:events';
import { join } from 'node:path';
import winston, { type Logger } from 'winston';
import { LogFile } from './log-file.ts';
import { redact, redactText } from './log-redaction.ts';

export const LOG_FILE = 'waystation.log';

export type LogOptions = {
  /** Files go to DIR/log; without it there are none. */
  readonly dataDir?: string;
  readonly level?: string;
  readonly toStdout?: boolean;
  readonly maxFileBytes?: number;
  readonly maxFiles?: number;
};

const FILES = new WeakMap<Logger, LogFile>();

/**
 * The program's log: one JSON object per line with `time`, `level`, `event` (the message) and fields; `runId`,
 * `orderId` and `targetId` are the names that `waystation logs` filters by. Values of secret-looking fields
 * are masked before they leave. Ended by `closeLog`.
 */
export function createLog(options: LogOptions = {}): Logger {
  const file = options.dataDir === undefined ? undefined : openFile(options.dataDir, options);
  const log = winston.createLogger({
    level: options.level ?? 'info',
    format: winston.format.printf(line),
    transports: [
      ...(options.toStdout ? [new winston.transports.Stream({ stream: process.stdout })] : []),
      ...(file === undefined ? [] : [new winston.transports.Stream({ stream: file })]),
    ],
    silent: file === undefined && !options.toStdout,
    exitOnError: false,
  });
  if (file !== undefined) FILES.set(log, file);
  return log;
}

/** Resolves when every line is in the file. Lines that come later are lost, and whoever writes them does not fail for that. May be called twice. */
export async function closeLog(log: Logger): Promise<void> {
  if (!log.writableEnded) {
    // What a stream says to a write after its end; unheard it would be thrown where somebody tells of a failure.
    log.on('error', () => undefined);
    const flushed = Promise.all(log.transports.map((transport) => once(transport, 'finish')));
    log.end();
    await flushed;
  }
  const file = FILES.get(log);
  if (file === undefined || file.writableFinished) return;
  if (!file.writableEnded) file.end();
  await once(file, 'finish');
}

function openFile(dataDir: string, { maxFileBytes = 10 * 1024 * 1024, maxFiles = 10 }: LogOptions): LogFile {
  return new LogFile({ path: join(dataDir, 'log', LOG_FILE), maxBytes: maxFileBytes, maxFiles });
}

/** Fields that would take the place of our own get an underscore. */
function line({ level, message, ...fields }: winston.Logform.TransformableInfo): string {
  const { time, event, ...rest } = redact(fields) as Record<string, unknown>;
  return JSON.stringify({
    time: new Date().toISOString(),
    level,
    event: typeof message === 'string' ? redactText(message) : redact(message),
    ...rest,
    ...(time === undefined ? {} : { _time: time }),
    ...(event === undefined ? {} : { _event: event }),
  });
}
