import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

/** A directory that is gone after the test that asked, or after the file's tests when asked at its top (not in `before`: its `after` comes at once). */
export async function temporaryDirectory(name = 'test'): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `waystation-${name}-`));
  after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
