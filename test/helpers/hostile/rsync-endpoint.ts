import { spawn } from 'node:child_process';
import { PassThrough } from 'node:stream';
import type { Endpoint } from './lying-parent.ts';

const VERSION = 31;

/**
 * A real `rsync --sender` behind a daemon's greeting of our own: it sends `files` of the directory, whatever the child
 * asked for. The daemon's protocol says its version in words, the one between two programs in four octets: those are
 * fed to the sender and taken off its answer.
 */
export function otherFiles(directory: string, files: readonly string[]): Endpoint {
  const input = new PassThrough();
  const output = new PassThrough();
  let kill: () => void = () => undefined;
  const start = (asked: readonly string[]) => {
    const options = asked.slice(0, asked.indexOf('.'));
    const child = spawn('rsync', [...options, '.', ...files], { cwd: directory, stdio: ['pipe', 'pipe', 'ignore'] });
    kill = () => void child.kill('SIGKILL');
    child.on('error', () => output.destroy());
    child.stdin.on('error', () => undefined);
    child.stdin.write(Buffer.from([VERSION, 0, 0, 0]));
    let swallowed = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      const skip = Math.min(4 - swallowed, chunk.length);
      swallowed += skip;
      if (chunk.length > skip) output.write(chunk.subarray(skip));
    });
    child.stdout.on('end', () => output.end());
    return child.stdin;
  };
  converse(input, output, start);
  return { input, output, kill: () => kill() };
}

/** The daemon's side of the greeting (rsync's clientserver.c): version, module, arguments that end with an empty one. */
function converse(input: PassThrough, output: PassThrough, start: (asked: string[]) => NodeJS.WritableStream): void {
  let heard = Buffer.alloc(0);
  let lines = 0;
  output.write(`@RSYNCD: ${VERSION}.0 sha512 sha256 sha1 md5 md4\n`);
  const listen = (chunk: Buffer) => {
    heard = Buffer.concat([heard, chunk]);
    for (let end = heard.indexOf('\n'); lines < 2 && end !== -1; end = heard.indexOf('\n')) {
      heard = heard.subarray(end + 1);
      lines += 1;
      if (lines === 2) output.write('@RSYNCD: OK\n');
    }
    const end = lines < 2 ? -1 : heard.indexOf('\0\0');
    if (end === -1) return;
    input.off('data', listen);
    const sender = start(heard.subarray(0, end).toString().split('\0'));
    sender.write(heard.subarray(end + 2));
    input.pipe(sender);
  };
  input.on('data', listen);
}

/** Says what it is told as soon as somebody connects. */
export function says(words: string | Buffer, more?: (output: PassThrough) => void): Endpoint {
  const input = new PassThrough();
  const output = new PassThrough();
  input.resume();
  output.write(words);
  if (more === undefined) output.end();
  else more(output);
  return { input, output, kill: () => output.destroy() };
}
