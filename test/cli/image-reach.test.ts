import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { after, test } from 'node:test';
import { runCommand } from '../../cli/main.ts';
import { startServer } from '../helpers/lab/server.ts';
import { CLEAN_ENV, runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { rawDisk } from './image-files.ts';

const work = await temporaryDirectory('reach');
const dataDir = join(work, 'hq');
const disk = join(work, 'disk.raw');
writeFileSync(disk, rawDisk(3));
const ports = ['--http-port', '0', '--https-port', '0', '--tftp-port', '0'];
const { document: made } = await runJson<{ token: string; fingerprint: string }>(['init', '--name', 'hq', ...ports, '--data', dataDir]);
const server = await startServer({ name: 'hq', dataDir });
after(() => server.stop());

test('an import shows a bar on a terminal and its document on standard output', async () => {
  const screen: string[] = [];
  const stderr = Object.assign(new Writable({ write: (chunk, _encoding, done) => done(void screen.push(String(chunk))) }), {
    isTTY: true,
    columns: 100,
    cursorTo: () => true,
    clearLine: () => true,
    moveCursor: () => true,
  });
  const stdout = new Writable({ write: (_chunk, _encoding, done) => done() });
  const signal = () => new AbortController().signal;
  const argv = ['image', 'import', disk, '--name', 'deb', '--data', dataDir];
  assert.equal(await runCommand(argv, { stdout, stderr, stdin: Readable.from([]), env: CLEAN_ENV, signal }), 0);
  assert.match(screen.join(''), /import.*\[.*\].*%.*MB/);
});

test('through --url images are listed and verified, but no file of the server is read or written', async () => {
  const env = { WAYSTATION_TOKEN: made.token, WAYSTATION_CA_PIN: made.fingerprint };
  const far = (...args: string[]) => runCli([...args, '--url', server.addresses.httpsUrl], { env });
  assert.match((await far('image', 'list')).stdout, /deb/);
  assert.equal((await far('image', 'verify', 'deb')).code, 0);
  for (const args of [
    ['image', 'import', disk, '--name', 'far'],
    ['image', 'export', 'deb', '--out', join(work, 'far.raw')],
  ]) {
    const refused = await far(...args);
    assert.equal(refused.code, 77, refused.stderr);
    assert.match(refused.stderr, /own machine.*--data/);
  }
});

test('an operation that the server does not know is not found, in words', async () => {
  const { connectLocal } = await import('../../cli/client.ts');
  const client = await connectLocal(dataDir);
  await assert.rejects(client.get('/api/v1/operations/01890000-0000-7000-8000-000000000000'), {
    code: 'not_found',
    hint: /ask for the work again/,
  });
});
