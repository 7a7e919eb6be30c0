import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import type { Output } from '../../cli/frame.ts';
import { createBar } from '../../cli/progress-bar.ts';
import { runCli } from '../helpers/run-cli.ts';

test('what an agent calls its stage does not move the cursor of who watches', () => {
  const terminal = Object.assign(new PassThrough(), { isTTY: true, columns: 200 });
  const bar = createBar('rack-7', terminal as unknown as Output);
  bar.update({ stage: 'writing\u001b]0;owned\u0007\u202e', doneBytes: 1, totalBytes: 2 });
  bar.stop();
  const shown = String(terminal.read());
  assert.match(shown, /rack-7: writing\?\]0;owned\?\?/);
});

test('a bar tells how long it still takes, and stands at the end when the work is done', () => {
  const terminal = Object.assign(new PassThrough(), { isTTY: true, columns: 200 });
  const bar = createBar('import', terminal as unknown as Output);
  bar.update({ doneBytes: 1_000_000, totalBytes: 2_000_000, etaSeconds: 90 });
  bar.finish();
  bar.stop();
  const shown = String(terminal.read());
  assert.match(shown, /50% 1\.0 MB\/2\.0 MB, 1 min 30 s left/);
  assert.match(shown, /100% 2\.0 MB\/2\.0 MB[^,]*$/);
});

test('what an error quotes stays on its one line', async () => {
  const { stderr } = await runCli(['--data', '/nonexistent/\u001b[2J\nwaystation: all is well', 'image', 'show', 'x']);
  assert.match(stderr, /^[\x20-\x7e]+\n$/);
});
