import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { AppError } from '../../../core/errors.ts';
import { newId } from '../../../core/ids.ts';
import { listEvents } from '../../../server/db/events.ts';
import { migrateDatabase } from '../../../server/db/migrate.ts';
import { connectDatabase } from '../../../server/db/open.ts';
import { listServers } from '../../../server/db/servers.ts';
import { initialise } from '../../../server/initialise.ts';
import { openSite } from '../../../server/open-site.ts';
import { revokeServer } from '../../../server/servers.ts';
import type { Site } from '../../../server/site.ts';
import { createRequest } from '../../../server/trust/certificates.ts';
import { enrolChild } from '../../../server/trust/enrol.ts';
import { issueEnrolToken } from '../../../server/trust/enrol-token.ts';
import { startMariadb } from '../../helpers/mariadb.ts';
import { CLEAN_ENV } from '../../helpers/run-cli.ts';
import { signerOf } from '../api/signer.ts';

/**
 * A server works on its SQLite file, which has one connection. On a database with many of them the transactions of redeems
 * truly run at the same time: what keeps them apart is what they write, not the queue before the file.
 */
let root: string;
let mariadb: Awaited<ReturnType<typeof startMariadb>>;
let opened: Site;
let site: Site;

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'ws-enrol-'));
  mariadb = await startMariadb();
  mariadb.createDatabase('hq');
  const passwordFile = join(root, 'password');
  await writeFile(passwordFile, mariadb.password, { mode: 0o600 });
  const database = { hosts: [`127.0.0.1:${mariadb.port}`], user: 'waystation', name: 'hq', passwordFile };
  const dataDir = join(root, 'data');
  await initialise({ dataDir, flags: { name: 'hq', httpPort: 0, httpsPort: 0, tftpPort: 0 }, env: CLEAN_ENV });
  opened = await openSite({ dataDir, env: CLEAN_ENV });
  const db = await connectDatabase({ database }, dataDir);
  await migrateDatabase(db);
  await db('servers').insert(await opened.db('servers').select());
  site = { ...opened, db };
});
after(async () => {
  await site.db.destroy();
  await opened.close();
  await mariadb.stop();
  await rm(root, { recursive: true });
});

async function enrolRequest(token: string, name: string) {
  const id = newId();
  return { protocol: 1, token, serverId: id, name, csr: (await createRequest(id)).csrPem, signer: await signerOf(id) };
}

test('of 50 redeems of one token at the same time exactly one gets a certificate', async () => {
  const { token } = await issueEnrolToken(site);
  const requests = await Promise.all(Array.from({ length: 50 }, (_, n) => enrolRequest(token, `race-${n}`)));
  const results = await Promise.allSettled(requests.map((request) => enrolChild(site, request)));
  const failed = results.filter((result) => result.status === 'rejected');
  assert.equal(failed.length, 49);
  for (const { reason } of failed) assert.ok(reason instanceof AppError && reason.code === 'token_expired', String(reason));
  assert.equal((await listServers(site.db)).filter(({ relation }) => relation === 'child').length, 1);
});

test('servers that enrol at the same time with tokens of their own all get in, each with its event', async () => {
  const tokens = await Promise.all(Array.from({ length: 12 }, () => issueEnrolToken(site)));
  const requests = await Promise.all(tokens.map(({ token }, n) => enrolRequest(token, `branch-${n}`)));
  await Promise.all(requests.map((request) => enrolChild(site, request)));
  for (const { serverId } of requests) {
    const events = await listEvents(site.db, { subject: serverId });
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['server.enrolled'],
    );
  }
});

test('of two servers that want one name at the same time one gets it and the other is told', async () => {
  const tokens = [await issueEnrolToken(site), await issueEnrolToken(site)];
  const requests = await Promise.all(tokens.map(({ token }) => enrolRequest(token, 'wanted')));
  const results = await Promise.allSettled(requests.map((request) => enrolChild(site, request)));
  assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  for (const result of results) {
    if (result.status === 'rejected')
      assert.ok(result.reason instanceof AppError && result.reason.code === 'name_taken', String(result.reason));
  }
});

test('a revocation counts its revision', async () => {
  await revokeServer(site, 'wanted', 'test');
  const row = await site.db('servers').where({ name: 'wanted' }).first('state', 'revision');
  assert.deepEqual([row.state, row.revision], ['revoked', 2]);
});

test('a failed statement does not tell its values to the log', async () => {
  const secret = 'canary-of-a-nonce';
  await assert.rejects(site.db('orders').insert({ id: 'x', nonce: secret }), (error) => !String((error as Error).stack).includes(secret));
});
