import assert from 'node:assert/strict';
import { lstatSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type LabServer, startServer } from '../helpers/lab/server.ts';
import { type CliResult, runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { listTree, writeImageFiles } from './image-files.ts';

type ImageDocument = {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly manifest: string;
  readonly arch: string;
  readonly sizeBytes: number;
  readonly usedBytes: number;
  readonly storedBytes: number;
};

const work = await temporaryDirectory('image');
const dataDir = join(work, 'data');
const files = writeImageFiles(await temporaryDirectory('image-files'));
let server: LabServer | undefined;

after(() => server?.stop());

const run = (...args: string[]): Promise<CliResult> => runCli([...args, '--data', dataDir]);

async function json<Document>(...args: string[]): Promise<Document> {
  const { code, document } = await runJson<Document>([...args, '--data', dataDir]);
  assert.equal(code, 0, JSON.stringify(document));
  return document;
}

/** One line that says what and what to do, the code, and the files of the store as they were before. */
async function refused(args: readonly string[], code: number, words: RegExp): Promise<void> {
  const was = listTree(join(dataDir, 'store'));
  const { code: exit, stdout, stderr } = await run(...args);
  assert.equal(exit, code, `${args.join(' ')}: ${stderr}`);
  assert.match(stderr, words);
  assert.match(stderr, /^waystation: .+\n$/, 'one line');
  assert.equal(stdout, '');
  assert.deepEqual(listTree(join(dataDir, 'store')), was, 'nothing is left behind');
}

/** Every bad file, and no image more than before. */
async function refuseBadFiles(): Promise<void> {
  const before = await json('image', 'list');
  for (const [what, words] of BAD) await refused(['image', 'import', files.bad[what] ?? '', '--name', 'bad'], 65, words);
  assert.deepEqual(await json('image', 'list'), before);
}

const made = await run('init', '--name', 'hq', '--http-port', '0', '--https-port', '0', '--tftp-port', '0');
assert.equal(made.code, 0, made.stderr);

const BAD: readonly (readonly [string, RegExp])[] = [
  ['a text', /not a disk image/],
  ['an empty file', /not a disk image.*empty/],
  ['a directory', /not a disk image/],
  ['a truncated .gz', /cut off|cut short|truncated|ends/],
  ['a truncated .zst', /cut off|cut short|truncated|ends/],
  ['a damaged .zst', /damaged/],
  ['a backing file', /backing file/],
];

test('with the server down, every form of a disk gives the same image, stored once', async () => {
  const first = await json<ImageDocument>('image', 'import', files.good['raw'] ?? '', '--name', 'deb');
  assert.deepEqual([first.name, first.version, first.arch, first.sizeBytes], ['deb', '1', 'amd64', files.disk.length]);
  assert.ok(first.usedBytes >= 6 << 20 && first.usedBytes < 7 << 20, `used ${first.usedBytes}`);
  assert.ok(first.storedBytes > 6 << 20);
  for (const form of ['gz', 'zst', 'qcow2']) {
    const image = await json<ImageDocument>('image', 'import', files.good[form] ?? '', '--name', `deb-${form}`, '--version', '2026.11');
    assert.deepEqual([image.manifest, image.version, image.storedBytes], [first.manifest, '2026.11', 0], form);
  }
  const { items, next } = await json<{ items: ImageDocument[]; next: null }>('image', 'list');
  assert.deepEqual([items.map(({ name }) => name), next], [['deb-qcow2', 'deb-zst', 'deb-gz', 'deb'], null]);
});

test('with the server down, export gives the disk back bit for bit, and verify and check find nothing', async () => {
  const out = join(work, 'out.raw');
  await json('image', 'export', 'deb', '--out', out);
  assert.ok(readFileSync(out).equals(files.disk));
  await refused(['image', 'export', 'deb', '--out', out], 64, /Replace .*out\.raw\?.*--yes/);
  assert.equal((await json<{ clean: boolean }>('image', 'verify', 'deb@1')).clean, true);
  assert.equal((await json<{ clean: boolean }>('store', 'check')).clean, true);
  assert.equal((await run('image', 'show', 'deb')).code, 69, 'show asks the server');
});

test('a device or a directory is not taken for the file to write, whatever is written', async () => {
  const device = join(work, 'disk');
  symlinkSync('/dev/null', device);
  for (const command of [
    ['image', 'export', 'deb'],
    ['archive', 'toc'],
    ['archive', 'create'],
  ]) {
    await refused([...command, '--out', device], 64, /is a device, not a file/);
    await refused([...command, '--out', work], 64, /is a directory, not a file/);
  }
  assert.ok(lstatSync(device).isSymbolicLink());
});

test('an empty name, of a variable that is not set, is refused before anything is asked', async () => {
  await refused(['image', 'delete', '', '--yes'], 64, /an empty word was given for <ref>/);
  await refused(['target', 'group', 'lab', 'a', ''], 64, /an empty word was given for <T>.*waystation target group --help/);
});

test('with the server down, bad files are refused in one line and leave nothing', async () => {
  await refuseBadFiles();
  await refused(['image', 'import', join(work, 'nowhere.raw'), '--name', 'bad'], 66, /nowhere\.raw/);
});

test('names, versions and options are judged before the file is read', async () => {
  const missing = join(work, 'never-read.raw');
  await refused(['image', 'import', missing, '--name', 'deb', '--version', '1'], 65, /deb@1/);
  await refused(['image', 'import', missing, '--name', 'Deb'], 64, /"Deb" is not a name/);
  await refused(['image', 'import', missing, '--name', 'deb', '--version', '../1'], 64, /not a version/);
  await refused(['image', 'import', missing, '--name', 'deb', '--arch', 'vax'], 64, /"vax"/);
  await refused(['image', 'import', missing, '--name', 'deb', '--sector-size', '520'], 64, /520/);
  await refused(
    ['image', 'import', missing, '--name', 'deb', '--activate-at', '2020-01-31T02:00:00Z'],
    64,
    /2020-01-31T02:00:00.000Z is past/,
  );
  await refused(['image', 'import', missing], 64, /--name/);
  await refused(['image', 'export', 'nobody', '--out', join(work, 'x')], 66, /"nobody"/);
});

test('with the server up, the same commands go through it', async () => {
  server = await startServer({ name: 'hq', dataDir });
  const image = await json<ImageDocument>('image', 'import', files.good['zst'] ?? '', '--name', 'deb');
  assert.equal(image.version, '2');
  assert.equal((await json<ImageDocument>('image', 'show', 'deb')).id, image.id);
  const out = join(work, 'out-up.raw');
  await json('image', 'export', 'deb@2', '--out', out);
  assert.ok(readFileSync(out).equals(files.disk));
  assert.equal((await json<{ clean: boolean }>('image', 'verify', 'deb')).clean, true);
  assert.equal((await json<{ clean: boolean }>('store', 'check')).clean, true);
  assert.ok((await json<{ chunks: number }>('store', 'stats')).chunks > 0);
  await refuseBadFiles();
  await refused(['image', 'import', files.good['raw'] ?? '', '--name', 'deb', '--version', '1'], 65, /deb@1/);
  await refused(['image', 'show', 'nobody'], 66, /"nobody"/);
});

test('deleting needs a yes, names the version, and gc frees the content that no image needs', async () => {
  await refused(['image', 'delete', 'deb@2'], 64, /--yes/);
  const all = (await json<{ items: ImageDocument[] }>('image', 'list')).items;
  for (const { name, version } of all) await json('image', 'delete', `${name}@${version}`, '--yes');
  assert.deepEqual(await json('image', 'list'), { items: [], next: null });
  const would = await json<{ freedBytes: number; dryRun: boolean }>('store', 'gc', '--dry-run', '--grace-hours', '0');
  assert.ok(would.freedBytes > 6 << 20 && would.dryRun);
  assert.equal((await json<{ freedBytes: number }>('store', 'gc')).freedBytes, 0, 'young content is kept');
  await refused(['store', 'gc', '--grace-hours', '0'], 64, /less than an hour/);
  await server?.stop();
  const freed = await json<{ freedBytes: number }>('store', 'gc', '--grace-hours', '0');
  assert.equal(freed.freedBytes, would.freedBytes);
  assert.equal((await json<{ chunks: number }>('store', 'stats')).chunks, 0);
  await refused(['image', 'import', join(work, 'never-read.raw'), '--name', 'deb', '--version', '2'], 65, /given once/);
});
