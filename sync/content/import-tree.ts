import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MAX_TREE_FILES } from '../../core/content/limits.ts';
import { encodeRoot } from '../../core/content/manifest.ts';
import { createTreeWriter, type TreeReference, type TreeWriter } from '../../core/content/page-tree.ts';
import { encodeTreeFile, type TreeFile } from '../../core/content/tree-files.ts';
import type { Imported, OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { printable } from '../../core/ids.ts';
import { storeContent } from './import-disk.ts';
import type { Store } from './store.ts';
import { type WriteSession, withWriteSession } from './write-session.ts';

export type TreeSource = { readonly path: string; readonly kind: 'tree' | 'engine'; readonly meta?: Record<string, string> };

type FoundFile = Omit<TreeFile, 'offset'>;

/** Takes a directory of regular files into the store: see ContentStore.importTree. */
export async function importTree(store: Store, source: TreeSource, onProgress: OnProgress): Promise<Imported> {
  return withWriteSession(store, `importing ${source.path}`, async (session) => {
    const files = await listFiles(source.path);
    const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
    const content = createTreeWriter((bytes) => session.put(bytes, 'pages'));
    let usedBytes = 0;
    let doneBytes = 0;
    for (const file of files) {
      usedBytes += await storeFile(source.path, file, content, session);
      doneBytes += file.sizeBytes;
      onProgress(doneBytes, sizeBytes);
    }
    const tree = sizeBytes > 0 ? await content.finish() : null;
    const meta = source.meta ?? {};
    const list = await storeList(files, session);
    const root = encodeRoot({ format: 1, kind: source.kind, sizeBytes, usedBytes, meta, tree, files: list });
    const manifest = await session.put(root, 'pages');
    const { storedBytes } = await session.finish();
    return { manifest, kind: source.kind, sizeBytes, usedBytes, storedBytes };
  });
}

async function listFiles(root: string): Promise<FoundFile[]> {
  const files: FoundFile[] = [];
  const visit = async (directory: string): Promise<void> => {
    for (const entry of await readdir(join(root, directory), { withFileTypes: true })) {
      const path = directory === '' ? entry.name : `${directory}/${entry.name}`;
      if (entry.isDirectory()) await visit(path);
      else if (entry.isFile()) files.push(await describeFile(root, path));
      else
        throw new AppError('bad_data', `${printable(path)} is neither a file nor a directory`, {
          hint: 'a tree image holds regular files only',
        });
      if (files.length > MAX_TREE_FILES) throw new AppError('bad_data', `${root} holds more than ${MAX_TREE_FILES} files`);
    }
  };
  await visit('');
  if (files.length === 0) throw new AppError('bad_data', `${root} holds no file`);
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function describeFile(root: string, path: string): Promise<FoundFile> {
  const file = await open(join(root, path), 'r');
  try {
    const { mode, size } = await file.stat();
    return { path, mode: mode & 0o7777, sizeBytes: size };
  } finally {
    await file.close();
  }
}

async function storeFile(root: string, { path, sizeBytes }: FoundFile, tree: TreeWriter, session: WriteSession): Promise<number> {
  if (sizeBytes === 0) return 0;
  const file = await open(join(root, path), 'r');
  try {
    const read = async (buffer: Buffer): Promise<number> => {
      let done = 0;
      for (let bytesRead = -1; bytesRead !== 0 && done < buffer.length; done += bytesRead) {
        ({ bytesRead } = await file.read(buffer, done, buffer.length - done));
      }
      return done;
    };
    const stored = await storeContent({ read, starts: [0] }, tree, session, () => undefined);
    if (stored.sizeBytes !== sizeBytes) throw new AppError('bad_data', `${printable(path)} changed while it was read`);
    return stored.usedBytes;
  } finally {
    await file.close();
  }
}

/** The list of files, one line each, cut and stored like content. */
async function storeList(files: readonly FoundFile[], session: WriteSession): Promise<TreeReference> {
  const tree = createTreeWriter((bytes) => session.put(bytes, 'pages'));
  let held = Buffer.from(files.map(encodeTreeFile).join(''));
  const read = async (buffer: Buffer): Promise<number> => {
    const taken = held.copy(buffer);
    held = held.subarray(taken);
    return taken;
  };
  await storeContent({ read, starts: [0] }, tree, session, () => undefined);
  return tree.finish();
}
