import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type BackupManifest, encodeBackupEnd, parseBackupManifest, parseBackupTrailer } from '../../../core/backup-file.ts';
import type { AppError } from '../../../core/errors.ts';
import { newId } from '../../../core/ids.ts';
import { readLines } from '../../../server/backup/lines.ts';
import { openBackup, readMember, verifyMembers } from '../../../server/backup/open-file.ts';
import { createBackupFile } from '../../../server/backup/write-file.ts';
import { collect } from '../../core/content/collect.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const root = await temporaryDirectory('backup-container');
const server = { id: newId(), name: 'hq' };
const FACTS: Omit<BackupManifest, 'members'> = {
  ...{ program: '0.1.0', schema: '0008-offers', createdAt: '2026-11-27T12:00:00.000Z' },
  ...{ server, epoch: 0, generation: 3, content: 'whole' },
};
const PACK = newId();
const rows = Array.from({ length: 2000 }, (_, n) => ({ id: n, text: `row ${n} über alles` }));

/** A small backup with one member of each kind; gives its path. */
async function write(name: string): Promise<string> {
  const path = join(root, name);
  const writer = await createBackupFile(path, join(root, `.${name}.tmp`));
  await writer.add('files/server-id', [Buffer.from(`${server.id}\n`)]);
  const lines = rows.map((row) => Buffer.from(`${JSON.stringify(row)}\n`));
  await writer.add('tables/events', lines, { isCompressed: true, rows: () => rows.length });
  await writer.add('tables/boots', [], { isCompressed: true, rows: () => 0 });
  await writer.add(`packs/${PACK}`, [Buffer.alloc(5000, 7), Buffer.alloc(1, 8)]);
  await writer.finish(FACTS);
  return path;
}

const whole = await readFile(await write('whole.wsb'));

async function verify(octets: Buffer): Promise<void> {
  const path = join(root, 'tried.wsb');
  await writeFile(path, octets);
  await verifyMembers(await openBackup(path), () => undefined);
}

/** The same file with another manifest, its hash put right: as somebody would write it who means harm. */
function withManifest(change: (manifest: BackupManifest) => unknown): Buffer {
  const trailer = parseBackupTrailer(whole.subarray(-64), whole.length);
  const manifest = parseBackupManifest(whole.subarray(trailer.offset, trailer.offset + trailer.bytes), trailer);
  const changed = structuredClone(manifest);
  change(changed);
  return Buffer.concat([whole.subarray(0, trailer.offset), encodeBackupEnd(changed, trailer.offset)]);
}

test('what was written is read: facts, octets, rows in their order; the file is for its owner alone', async () => {
  const path = join(root, 'whole.wsb');
  const opened = await openBackup(path);
  const { members, path: _path, sizeBytes, ...facts } = opened;
  assert.deepEqual(facts, FACTS);
  assert.equal(sizeBytes, whole.length);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const [id, events, boots, pack] = members;
  assert.ok(id && events && boots && pack);
  assert.equal(String(Buffer.concat(await collect(readMember(opened, id)))), `${server.id}\n`);
  assert.equal(Buffer.concat(await collect(readMember(opened, pack))).length, 5001);
  assert.deepEqual(await collect(readLines(opened, events)), rows);
  assert.deepEqual(await collect(readLines(opened, boots)), []);
});

test('a file that is cut off anywhere, or goes on behind its end, is refused', async () => {
  for (let bytes = 0; bytes < whole.length; bytes += bytes < 80 || bytes > whole.length - 80 ? 1 : 197)
    await assert.rejects(verify(whole.subarray(0, bytes)), { code: 'bad_data' }, `${bytes} bytes`);
  await assert.rejects(verify(Buffer.concat([whole, Buffer.alloc(1)])), { code: 'bad_data' });
  await assert.rejects(verify(Buffer.concat([whole, whole])), { code: 'bad_data' });
});

test('a flipped bit anywhere is noticed, in a member with its name', async () => {
  for (let at = 0; at < whole.length; at += at < 16 ? 1 : 61) {
    const octets = Buffer.from(whole);
    octets[at] = (octets[at] ?? 0) ^ (1 << (at % 8));
    const code = at === 7 ? 'version_mismatch' : 'bad_data';
    await assert.rejects(verify(octets), { code }, `octet ${at}`);
  }
  const octets = Buffer.from(whole);
  octets[8 + 3] = (octets[8 + 3] ?? 0) ^ 1;
  await assert.rejects(verify(octets), { code: 'bad_data', message: /files\/server-id in it is damaged/ });
});

test('another file, a directory, a missing one and a format to come are refused in words', async () => {
  await assert.rejects(verify(Buffer.alloc(100_000, 'x')), { code: 'bad_data', message: /it is none/ });
  await assert.rejects(openBackup(root), { code: 'bad_data', message: /no regular file/ });
  await assert.rejects(openBackup(join(root, 'nowhere')), { code: 'not_found' });
  const later = Buffer.from(whole);
  later[7] = 2;
  await assert.rejects(verify(later), (error: AppError) => error.code === 'version_mismatch' && /format 2.*reads 1/.test(error.message));
});

test('a manifest whose members would lie elsewhere than in its file, or be written elsewhere than in the directory, is refused', async () => {
  const first = (manifest: BackupManifest) => manifest.members[0] as BackupManifest['members'][number];
  const wrong: readonly ((manifest: BackupManifest) => unknown)[] = [
    (manifest) => Object.assign(first(manifest), { name: 'files/../../etc/passwd' }),
    (manifest) => Object.assign(first(manifest), { name: 'files/keys/../server-id' }),
    (manifest) => Object.assign(first(manifest), { name: '/files/server-id' }),
    (manifest) => Object.assign(first(manifest), { name: 'files/run/api.sock' }),
    (manifest) => Object.assign(first(manifest), { name: 'tables/events' }),
    (manifest) => Object.assign(first(manifest), { name: `packs/${PACK}/x` }),
    (manifest) => Object.assign(first(manifest), { offset: 0 }),
    (manifest) => Object.assign(first(manifest), { bytes: 1 }),
    (manifest) => manifest.members.pop(),
    (manifest) => Object.assign(manifest, { server: { id: '../x', name: 'hq' } }),
    (manifest) => Object.assign(manifest, { members: undefined }),
  ];
  for (const [n, change] of wrong.entries()) await assert.rejects(verify(withManifest(change)), { code: 'bad_data' }, `case ${n}`);
  await verify(withManifest((manifest) => Object.assign(manifest, { somethingNew: true })));
});

test('a file that came under the name meanwhile is not replaced, and an aborted backup leaves nothing', async () => {
  const path = join(root, 'mine.wsb');
  const writer = await createBackupFile(path, join(root, '.mine.tmp'));
  await writeFile(path, 'mine');
  await assert.rejects(writer.finish(FACTS), { code: 'name_taken' });
  await writer.abort();
  await writer.abort();
  assert.equal(await readFile(path, 'utf8'), 'mine');
  assert.deepEqual(
    (await readdir(root)).filter((name) => name.startsWith('.')),
    [],
  );
});
