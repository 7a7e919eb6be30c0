import assert from 'node:assert/strict';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeLog, createLog } from '../../server/log.ts';
import { redact } from '../../server/log-redaction.ts';
import { readLog } from '../../server/read-log.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const CANARY = 'canary7f3a9d';

it('writes one JSON object per line with time, level, event and fields, readable by the owner alone', async () => {
  const dataDir = await temporaryDirectory('log');
  const log = createLog({ dataDir });
  log.info('order.started', { orderId: 'o1', targetId: 't1', ms: 5 });
  await closeLog(log);
  const path = join(dataDir, 'log', 'waystation.log');
  const line = JSON.parse(await readFile(path, 'utf8'));
  assert.match(line.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual({ ...line, time: '' }, { time: '', level: 'info', event: 'order.started', orderId: 'o1', targetId: 't1', ms: 5 });
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

it('masks what looks like a secret, wherever it stands', async () => {
  const dataDir = await temporaryDirectory('log');
  const log = createLog({ dataDir });
  log.error('canaries', {
    token: CANARY,
    nested: [{ Password: CANARY, passwordFile: CANARY, headers: { Authorization: `Bearer ${CANARY}`, cookie: CANARY } }],
    nonce: CANARY,
    key: CANARY,
    keyPem: CANARY,
    text: `wst_${CANARY} and wse_${CANARY}`,
    url: `mysql://user:${CANARY}@host/db`,
    header: `bearer ${CANARY}`,
    pem: `-----BEGIN PRIVATE KEY-----\n${CANARY}\n-----END PRIVATE KEY-----`,
    error: new Error(`failed with wst_${CANARY}`, { cause: new Error(`Basic ${CANARY}`) }),
  });
  log.warn(`a line about wst_${CANARY}`);
  await closeLog(log);
  const text = await readFile(join(dataDir, 'log', 'waystation.log'), 'utf8');
  assert.doesNotMatch(text, new RegExp(CANARY));
  assert.match(text, /failed with/);
});

it('leaves ids, digests and harmless words alone', () => {
  const fields = { keyId: 'sha256:00', tokenId: 'x', orderId: 'o', monkey: 'm', at: 5, isTokenKnown: true, list: [1, 'two', null] };
  assert.deepEqual(redact(fields), fields);
});

it('finds the lines of one order or target, the newest last, across rotated files and a torn line', async () => {
  const dataDir = await temporaryDirectory('log');
  const log = createLog({ dataDir });
  for (let n = 0; n < 20; n++) log.info('step', { orderId: `o${n % 2}`, mac: n % 4 === 0 ? '52:54:00:00:00:01' : undefined, n });
  await closeLog(log);
  const { appendFile, rename } = await import('node:fs/promises');
  const path = join(dataDir, 'log', 'waystation.log');
  await rename(path, join(dataDir, 'log', 'waystation1.log'));
  const next = createLog({ dataDir });
  next.info('step', { orderId: 'o1', n: 20 });
  await closeLog(next);
  await appendFile(path, '{"time":"2026-');
  const numbers = async (filter: object, limit: number) => (await readLog(dataDir, filter, limit)).map((line) => line['n']);
  assert.deepEqual(await numbers({ orderId: 'o1' }, 3), [17, 19, 20]);
  assert.deepEqual(await numbers({ target: ['52:54:00:00:00:01'] }, 100), [0, 4, 8, 12, 16]);
  assert.deepEqual(await numbers({ target: ['undefined'] }, 100), []);
  assert.equal((await numbers({}, 100)).length, 21);
});

it('loses a line that comes after its end, and who wrote it does not fail for that', async () => {
  const dataDir = await temporaryDirectory('log');
  const log = createLog({ dataDir });
  log.info('last');
  await closeLog(log);
  log.error('late', { error: 'the database is closed' });
  // Streams tell of such failures a moment later.
  await sleep(20);
  assert.deepEqual(
    (await readLog(dataDir, {}, 10)).map(({ event }) => event),
    ['last'],
  );
});

it('starts a new file when one is full and keeps a bounded number', async () => {
  const dataDir = await temporaryDirectory('log');
  const log = createLog({ dataDir, maxFileBytes: 2000, maxFiles: 3 });
  for (let n = 0; n < 200; n++) {
    log.info('filler', { n, text: 'x'.repeat(100) });
  }
  await closeLog(log);
  const files = await readdir(join(dataDir, 'log'));
  assert.deepEqual(files.sort(), ['waystation.log', 'waystation1.log', 'waystation2.log']);
  const kept = (await readLog(dataDir, {}, 1000)).map((line) => line['n']);
  assert.deepEqual(
    kept,
    Array.from({ length: kept.length }, (_, n) => 200 - kept.length + n),
    'the newest lines, none missing',
  );
});
