import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

/** A directory that is gone after the tests of this file (or of this suite, when called in its `before`). */
export async function temporaryDirectory(name = 'test'): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `waystation-${name}-`));
  after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
