import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseBoundedJson } from '../../core/bounded-json.ts';

const WIDE = { bytes: 1_000_000, values: 100_000 };

test('what is within the limits comes out as JSON.parse gives it', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
      const text = JSON.stringify(value);
      assert.deepEqual(parseBoundedJson(Buffer.from(text), WIDE), JSON.parse(text));
    }),
  );
});

test('brackets and commas in texts are no levels and no values', () => {
  const text = JSON.stringify({ '[{"': '\\"[[[[,,,,{{{{', end: '\\' });
  assert.deepEqual(parseBoundedJson(Buffer.from(text), { bytes: 100, values: 3 }), JSON.parse(text));
});

test('too long, too deep and too many values are refused before they are parsed', () => {
  const refused = (text: string, limits = WIDE) => assert.throws(() => parseBoundedJson(Buffer.from(text), limits), { code: 'bad_data' });
  refused('[1,2,3]', { bytes: 5, values: 10 });
  refused(`${'['.repeat(100)}${']'.repeat(100)}`);
  refused(`{"a":${'{"a":'.repeat(70)}`);
  refused(`[${'0,'.repeat(20)}0]`, { bytes: 1000, values: 20 });
  assert.throws(() => parseBoundedJson(Buffer.from('{"a":'), WIDE), SyntaxError);
});
