import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, readFile, stat, utimes } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { openSite } from '../../server/open-site.ts';
import { waystation } from '../helpers/lab/command.ts';
import { initServer } from '../helpers/lab/server.ts';
import { makeDisk } from '../helpers/replication-sites.ts';
import { CLEAN_ENV } from '../helpers/run-cli.ts';
import { stopProcess } from '../helpers/stop-process.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

const MIB = 1024 * 1024;
const LONG_AGO = new Date(Date.now() - 3 * 86_400_000);

test('a server that is stopped in the middle of an import loses nothing to a collection, though its packs look days old', async () => {
  const work = await temporaryDirectory('stopped');
  const [disk, dataDir] = [join(work, 'disk.raw'), join(work, 'hq')];
  const octets = await makeDisk(disk, 32 * MIB);
  const ports = ['--http-port', '0', '--https-port', '0', '--tftp-port', '0'];
  const server = await initServer({ name: 'hq', dataDir, initArgs: ports });
  after(() => server.stop());
  const packs = join(dataDir, 'store', 'packs');
  const files = async () => (await readdir(packs)).filter((name) => name.endsWith('.pack')).map((name) => join(packs, name));
  const age = async () => {
    for (const file of await files()) await utimes(file, LONG_AGO, LONG_AGO);
  };
  await server.json('image', 'import', disk, '--name', 'old');
  await server.json('image', 'delete', 'old@1', '--yes');
  await age();

  // The second import stores nothing: it relies on what is here and what nothing else needs.
  const importing = waystation(['image', 'import', disk, '--name', 'new'], { dataDir });
  await waitUntil('the import relies on a pack', async () => await isTouched(await files()), {
    limitMs: 30_000,
    everyMs: 2,
    despiteErrors: true,
  });
  await stopProcess(server.process.pid as number);
  const isOver = await Promise.race([importing.then(() => true), new Promise((resolve) => setTimeout(() => resolve(false), 300))]);
  assert.equal(isOver, false, 'it was stopped before its end');
  await age();
  await assert.rejects(openSite({ dataDir, env: CLEAN_ENV }), { code: 'directory_in_use' });
  // Asked while it is stopped, so that it is the first thing the server does when it goes on.
  const { asked, answered } = askForCollection(join(dataDir, 'run', 'api.sock'));
  await asked;
  server.process.kill('SIGCONT');

  const { id } = await answered;
  await waitUntil('the collection ends', async () => (await server.get<{ state: string }>(`/api/v1/operations/${id}`)).state === 'done', {
    limitMs: 30_000,
    everyMs: 500,
    despiteErrors: true,
  });
  const imported = await importing;
  assert.equal(imported.code, 0, imported.stderr);
  const out = join(work, 'out.raw');
  await server.json('image', 'export', 'new', '--out', out);
  assert.ok((await readFile(out)).equals(octets));
  assert.equal((await server.json<{ clean: boolean }>('store', 'check')).clean, true);
});

/** `store gc --grace-hours 1` as a request; `asked` when all of it is with the kernel. */
function askForCollection(socketPath: string): { asked: Promise<unknown>; answered: Promise<{ id: string }> } {
  const headers = { host: 'localhost', 'content-type': 'application/json' };
  const outgoing = request({ socketPath, method: 'POST', path: '/api/v1/store/gc', headers, agent: false });
  const answered = once(outgoing, 'response').then(async ([answer]) => JSON.parse(await text(answer as IncomingMessage)) as { id: string });
  const asked = once(outgoing, 'finish');
  outgoing.end(JSON.stringify({ graceMs: 3_600_000 }));
  return { asked, answered };
}

async function isTouched(files: readonly string[]): Promise<boolean> {
  const infos = await Promise.all(files.map((file) => stat(file)));
  return infos.some(({ mtimeMs }) => mtimeMs > LONG_AGO.getTime() + 60_000);
}
