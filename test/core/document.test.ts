import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillIn, parseContent, readDocument } from '../../core/document.ts';
import type { Envelope } from '../../core/envelope.ts';
import type { Name } from '../../core/ids.ts';

const name = (text: string) => text as Name;
const linux = { kind: 'linux', kernel: '{{waystation.http}}/rescue/vmlinuz' } as const;

test('a menu entry has a title, a place and something to boot', () => {
  assert.deepEqual(parseContent('menu', name('rescue'), { title: 'Rescue', boot: linux }), {
    title: 'Rescue',
    position: 100,
    boot: { ...linux, initrd: [], arguments: '' },
  });
});

test('what could be more than a title or a location in a boot script is refused, naming the member', () => {
  for (const [content, member] of [
    [{ title: 'a\nshell', boot: linux }, 'title'],
    [{ title: '--gap', boot: linux }, 'title'],
    [{ title: 'Rescue', boot: { ...linux, kernel: 'http://x/a b' } }, 'boot.kernel'],
    [{ title: 'Rescue', boot: { ...linux, kernel: 'http://x/a||shell' } }, 'boot.kernel'],
    [{ title: 'Rescue', boot: { ...linux, kernel: ['$', '{net0/mac}'].join('') } }, 'boot.kernel'],
    [{ title: 'Rescue', boot: { ...linux, arguments: 'quiet\nshell' } }, 'boot.arguments'],
    [{ title: 'Rescue', boot: { kind: 'shell' } }, 'boot.kind'],
    [{ title: 'Rescue', boot: linux, extra: 1 }, 'content'],
  ] as const) {
    assert.throws(() => parseContent('menu', name('rescue'), content), { code: 'usage', message: new RegExp(member) });
  }
});

test('a parameter whose name sounds like a secret is refused', () => {
  for (const bad of ['root-password', 'join.token', 'api-key', 'apikey', 'private', 'db-secret']) {
    assert.throws(() => parseContent('parameter', name(bad), { value: 'x' }), { code: 'usage', message: /sounds like a secret/ });
  }
  assert.deepEqual(parseContent('parameter', name('ntp-server'), { value: '10.0.0.1' }), { value: '10.0.0.1' });
});

test('parameters stand where their names stood; one that is missing is named', () => {
  const values = new Map([['mirror', 'http://m']]);
  assert.equal(
    fillIn('{{mirror}}/a {{mirror}}', (key) => values.get(key)),
    'http://m/a http://m',
  );
  assert.throws(() => fillIn('{{other}}', (key) => values.get(key)), { code: 'bad_data', message: /"other"/ });
});

test('a document of a later release is kept by whoever keeps envelopes, and is nothing here', () => {
  const envelope = { id: 'i', origin: 'o', revision: 1 } as unknown as Envelope;
  for (const body of [null, 7, [], { note: 'x' }, { type: 'profile', name: 'x', content: {} }, { type: 'menu', name: 'X', content: {} }]) {
    assert.equal(readDocument({ ...envelope, body } as Envelope), undefined);
  }
});
