import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import { type CpioEntry, encodeCpio } from '../../../server/engine/cpio.ts';
import { encodeInitramfs } from '../../../server/engine/initramfs.ts';

const ENTRIES: readonly CpioEntry[] = [
  { kind: 'directory', path: 'dev', mode: 0o755 },
  { kind: 'device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
  { kind: 'file', path: 'init', mode: 0o755, content: Buffer.from('#!/bin/sh\n') },
  { kind: 'link', path: 'sh', target: 'bin/busybox' },
];

describe('the initramfs archive', () => {
  it('is read by busybox cpio as it was meant: kinds, modes, owners, links and contents', () => {
    const archive = encodeCpio(ENTRIES);
    const listing = execFileSync('busybox', ['cpio', '-tv'], { input: archive, encoding: 'utf8' }).trim().split('\n');
    assert.match(listing[0] ?? '', /^drwxr-xr-x .*dev$/);
    assert.match(listing[1] ?? '', /^crw------- .*dev\/console$/);
    assert.match(listing[2] ?? '', /^-rwxr-xr-x .* 10 .*init$/);
    assert.match(listing[3] ?? '', /^lrwxrwxrwx .*sh -> bin\/busybox$/);
    assert.equal(execFileSync('busybox', ['cpio', '-i', '--to-stdout', 'init'], { input: archive, encoding: 'utf8' }), '#!/bin/sh\n');
  });

  it('has the same bytes for the same entries, and survives its compression', async () => {
    assert.deepEqual(encodeCpio(ENTRIES), encodeCpio(ENTRIES));
    const packed = await encodeInitramfs(ENTRIES);
    assert.deepEqual(packed, await encodeInitramfs(ENTRIES));
    assert.deepEqual(zstdDecompressSync(packed), encodeCpio(ENTRIES));
  });
});
