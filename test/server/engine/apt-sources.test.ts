import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { selectDebianSources } from '../../../server/engine/debian/apt-sources.ts';

const DEB822 = `Types: deb deb-src
# a comment between fields
URIs: http://mirror.example/debian
Suites: trixie trixie-updates other-suite
Components: main contrib non-free
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: https://third.example/repo
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: trixie
Components: main
`;

describe('the choice of package sources', () => {
  it('keeps the archive’s suites and main of a stanza, with its key block, and drops what is foreign or off', () => {
    const { stanzas, list } = selectDebianSources([{ name: 'sources.list.d/x.sources', text: DEB822 }], 'trixie');
    assert.equal(list, '');
    assert.match(stanzas, /^types: deb$/m);
    assert.match(stanzas, /^uris: http:\/\/mirror\.example\/debian$/m);
    assert.match(stanzas, /^suites: trixie trixie-updates$/m);
    assert.match(stanzas, /^components: main$/m);
    assert.match(stanzas, /-----BEGIN PGP PUBLIC KEY BLOCK-----\n \.\n abc\n/);
    assert.doesNotMatch(stanzas, /third\.example|off\.example/);
  });

  it('keeps one-line entries of the release with their options, cut down to main', () => {
    const text = [
      'deb [signed-by=/usr/share/keyrings/a.gpg arch=amd64] http://m.example/debian bookworm main contrib # words',
      'deb http://m.example/debian-security bookworm-security main',
      'deb-src http://m.example/debian bookworm main',
      '# deb http://m.example/debian bookworm main',
      'deb http://vendor.example/apt bookworm stable',
      'deb http://vendor.example/apt cloud-bookworm main',
    ].join('\n');
    const { list } = selectDebianSources([{ name: 'sources.list', text }], 'bookworm');
    assert.deepEqual(list.trim().split('\n'), [
      'deb [signed-by=/usr/share/keyrings/a.gpg arch=amd64] http://m.example/debian bookworm main',
      'deb http://m.example/debian-security bookworm-security main',
    ]);
  });

  it('finds nothing in files that apt would not read, and in another release’s sources', () => {
    const none = { list: '', stanzas: '' };
    assert.deepEqual(
      selectDebianSources([{ name: 'sources.list.d/x.list.bak', text: 'deb http://m.example/debian bookworm main' }], 'bookworm'),
      none,
    );
    assert.deepEqual(selectDebianSources([{ name: 'sources.list', text: 'deb http://m.example/debian bullseye main' }], 'bookworm'), none);
  });
});
