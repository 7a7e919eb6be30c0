import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstat, mkdir, mkdtemp, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { describePackages, fetchPackages, parseUris } from '../../../server/engine/debian/packages.ts';
import { makeTree, unpackPackages } from '../../../server/engine/debian/unpack-process.ts';

let directory = '';
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ws-packages-'));
});
after(() => rm(directory, { recursive: true, force: true }));

function sha256(octets: Uint8Array): string {
  return createHash('sha256').update(octets).digest('hex');
}

describe('packages', () => {
  it('are read from what apt prints, with epochs, and without lines of another kind', () => {
    const hash = 'a'.repeat(64);
    const text = [
      `'http://m.example/a/attr/libattr1_2.5.1-4_amd64.deb' libattr1_1%3a2.5.1-4_amd64.deb 22164 SHA256:${hash}`,
      `'http://m.example/b.deb' b_1_all.deb 1 MD5Sum:00`,
      'Reading package lists...',
    ].join('\n');
    assert.deepEqual(parseUris(text, '/debs'), [
      { name: 'libattr1', version: '1:2.5.1-4', arch: 'amd64', sha256: hash, sizeBytes: 22164, path: `/debs/${hash}.deb` },
    ]);
  });

  it('come from the host’s Debian archive with their signed hashes, and a damaged copy in the cache is fetched again', async () => {
    const request = {
      cacheDir: join(directory, 'cache'),
      arch: 'amd64',
      packages: ['hostname'],
      only: (name: string) => name === 'hostname',
    } as const;
    const [deb] = await fetchPackages(request);
    assert.ok(deb);
    assert.equal(sha256(await readFile(deb.path)), deb.sha256);
    assert.match(describePackages([deb]), /^hostname \S+ amd64 [0-9a-f]{64}\n$/);
    await writeFile(deb.path, (await readFile(deb.path)).fill(0, 100, 200));
    await fetchPackages(request);
    assert.equal(sha256(await readFile(deb.path)), deb.sha256);
  });

  it('that Debian does not have are refused by name', async () => {
    const request = { cacheDir: join(directory, 'cache'), arch: 'amd64', packages: ['no-such-package-anywhere'] } as const;
    await assert.rejects(fetchPackages(request), /no-such-package-anywhere/);
  });
});

describe('unpacking', () => {
  async function buildDeb(name: string): Promise<string> {
    const source = join(directory, name);
    await mkdir(join(source, 'DEBIAN'), { recursive: true });
    await mkdir(join(source, 'bin'));
    await mkdir(join(source, 'usr/share/doc/x'), { recursive: true });
    await writeFile(
      join(source, 'DEBIAN/control'),
      `Package: ${name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n`,
    );
    await writeFile(join(source, 'DEBIAN/postinst'), '#!/bin/sh\ntouch /tmp/must-not-run\n', { mode: 0o755 });
    await writeFile(join(source, 'bin/tool'), 'tool', { mode: 0o755 });
    await writeFile(join(source, 'usr/share/doc/x/readme'), 'words');
    await symlink('tool', join(source, 'bin/alias'));
    execFileSync('dpkg-deb', ['--root-owner-group', '-b', source, `${source}.deb`], { stdio: 'ignore' });
    return `${source}.deb`;
  }

  it('puts old paths through the links of a merged /usr and leaves documents out', async () => {
    const path = await buildDeb('wstool');
    const tree = join(directory, 'tree');
    await makeTree(tree);
    await unpackPackages([{ name: 'wstool', version: '1', arch: 'all', sha256: '', sizeBytes: 0, path }], tree);
    assert.ok((await lstat(join(tree, 'bin'))).isSymbolicLink());
    assert.equal(await readFile(join(tree, 'usr/bin/tool'), 'utf8'), 'tool');
    assert.equal(await readlink(join(tree, 'usr/bin/alias')), 'tool');
    await assert.rejects(lstat(join(tree, 'usr/share/doc/x/readme')), { code: 'ENOENT' });
  });

  it('names the package that is damaged', async () => {
    const path = join(directory, 'damaged.deb');
    await writeFile(path, 'not a package');
    const tree = join(directory, 'other');
    await makeTree(tree);
    const deb = { name: 'damaged', version: '1', arch: 'all', sha256: '', sizeBytes: 0, path };
    await assert.rejects(unpackPackages([deb], tree), { code: 'bad_data', message: /damaged 1/ });
  });
});
