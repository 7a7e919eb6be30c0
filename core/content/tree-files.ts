import { z } from 'zod';
import { canonicalJson, type Json } from '../canonical-json.ts';
import { AppError } from '../errors.ts';
import { printable } from '../ids.ts';
import { MAX_DISK_BYTES, MAX_PATH_BYTES } from './limits.ts';
import type { TreeRoot } from './manifest.ts';
import { type GetChunk, readExtents } from './page-tree.ts';

/** A file of a tree image. Its bytes begin at `offset` of the image's content. */
export type TreeFile = { readonly path: string; readonly mode: number; readonly sizeBytes: number; readonly offset: number };

const File = z.strictObject({
  path: z.string(),
  mode: z.number().int().min(0).max(0o7777),
  sizeBytes: z.number().int().nonnegative().max(MAX_DISK_BYTES),
});

/** `boot/vmlinuz`: relative, `/` between names, no empty name, `.` or `..`, no NUL. Throws `bad_data`. */
export function parseTreePath(path: string): string {
  const names = path.split('/');
  const isSafe =
    names.every((name) => name !== '' && name !== '.' && name !== '..') &&
    !path.includes('\0') &&
    Buffer.byteLength(path) <= MAX_PATH_BYTES;
  if (!isSafe) throw new AppError('bad_data', `"${printable(path)}" is not a path inside an image`);
  return path;
}

/** One line of the list of files. */
export function encodeTreeFile(file: Omit<TreeFile, 'offset'>): string {
  const { path, mode, sizeBytes } = file;
  return `${canonicalJson({ path: parseTreePath(path), mode, sizeBytes } satisfies Json)}\n`;
}

/** The files of a tree image in order of path, read as a stream. Throws `bad_data` for a list that is not ours. */
export async function* readTreeFiles(root: TreeRoot, get: GetChunk): AsyncGenerator<TreeFile> {
  let offset = 0;
  let last = '';
  for await (const line of readLines(root, get)) {
    const file = parseLine(line);
    if (file.path <= last) throw new AppError('bad_data', `the files of the image are not in order at "${printable(file.path)}"`);
    last = file.path;
    yield { ...file, offset };
    offset += file.sizeBytes;
  }
  if (offset !== root.sizeBytes) throw new AppError('bad_data', `the files take ${offset} bytes, the image says ${root.sizeBytes}`);
}

function parseLine(line: string): Omit<TreeFile, 'offset'> {
  const parsed = File.safeParse(parseJson(line));
  if (!parsed.success) throw new AppError('bad_data', `"${printable(line)}" does not describe a file`, { cause: parsed.error });
  return { ...parsed.data, path: parseTreePath(parsed.data.path) };
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    // Not JSON is the same to the caller as JSON of another shape: the schema refuses it.
    return undefined;
  }
}

const MAX_LINE_BYTES = 2 * MAX_PATH_BYTES;

async function* readLines(root: TreeRoot, get: GetChunk): AsyncGenerator<string> {
  let held: Buffer = Buffer.alloc(0);
  for await (const extent of readExtents(root.files, get)) {
    if (extent.kind !== 'data') throw new AppError('bad_data', 'the list of files has a hole');
    held = Buffer.concat([held, await get(extent.digest)]);
    for (let end = held.indexOf(10); end !== -1; end = held.indexOf(10)) {
      yield held.toString('utf8', 0, end);
      held = held.subarray(end + 1);
    }
    if (held.length > MAX_LINE_BYTES * 8) throw new AppError('bad_data', 'the list of files has a line without end');
  }
  if (held.length > 0) throw new AppError('bad_data', 'the list of files is cut short');
}
