import { AppError } from '../../core/errors.ts';

/** Whether the database or the file system has no room: SQLITE_FULL (https://www.sqlite.org/rescode.html), MariaDB's words, errno. */
export function isDiskFull(error: unknown): boolean {
  const { errcode, code } = (error ?? {}) as { errcode?: number; code?: string };
  return errcode === 13 || code === 'ENOSPC' || code === 'EDQUOT' || code === 'ER_DISK_FULL' || code === 'ER_RECORD_FILE_FULL';
}

/** The same in words, whatever was being written; any other error as it is. */
export function explainDiskFull(error: unknown): unknown {
  if (error instanceof AppError || !isDiskFull(error)) return error;
  return new AppError('disk_full', 'no space is left for the records of this server; nothing was changed', {
    hint: 'free space where its data directory or database lies, and repeat the command',
    cause: error,
  });
}
