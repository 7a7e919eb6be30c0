import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { stripElf } from '../../../server/engine/elf.ts';

describe('stripping a program', () => {
  it('leaves a Node that is smaller and still runs', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ws-elf-'));
    try {
      const whole = await readFile(process.execPath);
      const stripped = stripElf(whole);
      assert.ok(stripped.length < whole.length * 0.9, `${stripped.length} of ${whole.length}`);
      const path = join(directory, 'node');
      await writeFile(path, stripped);
      await chmod(path, 0o755);
      assert.equal(
        execFileSync(path, ['-p', 'require("zlib").crc32("x") && process.version'], { encoding: 'utf8' }).trim(),
        process.version,
      );
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  it('refuses what is no program', () => {
    assert.throws(() => stripElf(Buffer.from('#!/bin/sh\n')), { code: 'bad_data' });
    const cut = Buffer.alloc(64);
    cut.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
    cut.writeUInt16LE(9, 56);
    assert.throws(() => stripElf(cut), { code: 'bad_data' });
  });
});
