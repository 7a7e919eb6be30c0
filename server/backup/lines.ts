import { type BackupMember, badBackup } from '../../core/backup-file.ts';
import { decodeMember, type OpenedBackup } from './open-file.ts';

/** The rows of a member, one JSON object a line. Throws `bad_data`. */
export async function* readLines(opened: OpenedBackup, member: BackupMember): AsyncGenerator<object> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const slice of decodeMember(opened, member)) {
    const lines = (rest + decoder.decode(slice, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield rowOf(line, member);
  }
  if (rest !== '') yield rowOf(rest, member);
}

function rowOf(line: string, { name }: BackupMember): object {
  const row = parseRow(line);
  if (row === undefined) throw badBackup(`a line of ${name} is no row`);
  return row;
}

function parseRow(line: string): object | undefined {
  try {
    const row: unknown = JSON.parse(line);
    return typeof row === 'object' && row !== null && !Array.isArray(row) ? row : undefined;
  } catch {
    // Not JSON is the same as JSON of another shape: the caller says where.
    return undefined;
  }
}
