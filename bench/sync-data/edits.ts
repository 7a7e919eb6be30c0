import { mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { randomFrom } from '../../test/helpers/seeded.ts';

const BLOCK = 4096;
const RECORD = 64;
const EDITS = 22;

/** What an administrator does besides: a line more in 22 files of /etc, and three files of his own. */
export async function editSettings(tree: string): Promise<void> {
  const files = (await listFiles(join(tree, 'etc'))).filter((path) => !/\/(alternatives|ssl)\//.test(path));
  const step = Math.max(1, Math.floor(files.length / EDITS));
  for (let n = 0; n < EDITS; n++) {
    const path = files[n * step];
    if (path !== undefined) await writeFile(path, `${await readFile(path, 'utf8')}\n# changed for site ${n}\n`);
  }
  for (const name of ['proxy.conf', 'ntp/site.conf', 'motd']) {
    const path = join(tree, 'etc/site.d', name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, `# ${name}\nsite = branch\nserver = hq.example\n`);
  }
}

/**
 * Changes `blocks` blocks where they lie, as a database does with its pages: 64 random bytes (by `seed`) somewhere in
 * every block of some files of the system.
 */
export async function touchBlocks(tree: string, { blocks, seed }: { blocks: number; seed: number }): Promise<void> {
  const random = randomFrom(seed);
  const files = await listFiles(join(tree, 'usr'));
  for (let left = blocks; left > 0; ) {
    const path = files[Math.floor(random() * files.length)] as string;
    const { size } = await stat(path);
    if (size < 4 * BLOCK || size > 1_048_576) continue;
    const file = await open(path, 'r+');
    for (let at = 0; at + BLOCK <= size && left > 0; at += BLOCK, left -= 1) {
      const record = Buffer.from(Array.from({ length: RECORD }, () => Math.floor(random() * 256)));
      await file.write(record, 0, RECORD, at + Math.floor(random() * (BLOCK - RECORD)));
    }
    await file.close();
  }
}

async function listFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return paths.sort();
}
