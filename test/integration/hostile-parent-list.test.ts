import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { CATALOGUE_CASES } from '../helpers/hostile/catalogue-cases.ts';
import { CONTENT_CASES, TUNNEL_CASES } from '../helpers/hostile/content-cases.ts';

test('docs/protocol.md lists every lie of a parent with the code that it ends as', async () => {
  const text = await readFile(new URL('../../docs/protocol.md', import.meta.url), 'utf8');
  const section = text.slice(text.indexOf('## A parent that lies'), text.indexOf('## Errors'));
  const listed = [...section.matchAll(/^\| (\d+) \| (.*) \| `?(\w+)`? \|$/gm)].map(
    ([, number, name, code]) => `${number} ${name}: ${code}`,
  );
  const played = [...CATALOGUE_CASES, ...CONTENT_CASES, ...TUNNEL_CASES].map(({ name, code }, index) => `${index + 1} ${name}: ${code}`);
  assert.deepEqual(listed, played);
  assert.ok(played.length >= 40);
});
