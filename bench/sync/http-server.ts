import { open, stat } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { join, normalize } from 'node:path';

/*
 * The web server of the peers that fetch files (lftp, zsync, casync, curl): files of one directory, ranges as zsync asks
 * for them, also several at once (RFC 9110, 14.6). Usage: http-server.ts DIRECTORY ADDRESS PORT
 */
const [directory = '.', address = '127.0.0.1', port = '8000'] = process.argv.slice(2);
const READ_BYTES = 1_048_576;
const BOUNDARY = 'waystation-bench';

type Range = { readonly start: number; readonly end: number };

async function send(response: ServerResponse, path: string, ranges: string | undefined): Promise<void> {
  const { size } = await stat(path);
  const asked = parseRanges(ranges, size);
  const [first] = asked;
  if (first === undefined) {
    response.writeHead(200, { 'content-length': size, 'accept-ranges': 'bytes' });
    await copy(response, path, { start: 0, end: size - 1 });
  } else if (asked.length === 1) {
    response.writeHead(206, { 'content-length': first.end - first.start + 1, 'content-range': contentRange(first, size) });
    await copy(response, path, first);
  } else {
    const heads = asked.map((range) => `\r\n--${BOUNDARY}\r\ncontent-range: ${contentRange(range, size)}\r\n\r\n`);
    const tail = `\r\n--${BOUNDARY}--\r\n`;
    const length = asked.reduce((sum, { start, end }, n) => sum + end - start + 1 + (heads[n] as string).length, tail.length);
    response.writeHead(206, { 'content-length': length, 'content-type': `multipart/byteranges; boundary=${BOUNDARY}` });
    for (const [n, range] of asked.entries()) {
      response.write(heads[n]);
      await copy(response, path, range);
    }
    response.write(tail);
  }
  response.end();
}

function contentRange({ start, end }: Range, size: number): string {
  return `bytes ${start}-${end}/${size}`;
}

function parseRanges(header: string | undefined, size: number): Range[] {
  const parts = header?.replace('bytes=', '').split(',') ?? [];
  return parts.map((part) => {
    const [start = '0', end = ''] = part.trim().split('-');
    return { start: Number(start), end: end === '' ? size - 1 : Math.min(Number(end), size - 1) };
  });
}

async function copy(response: ServerResponse, path: string, { start, end }: Range): Promise<void> {
  const file = await open(path);
  try {
    for (let at = start; at <= end; at += READ_BYTES) {
      const length = Math.min(READ_BYTES, end - at + 1);
      const { buffer } = await file.read(Buffer.allocUnsafe(length), 0, length, at);
      if (!response.write(buffer)) await Promise.race([once(response, 'drain'), once(response, 'close')]);
      if (response.destroyed) return;
    }
  } finally {
    await file.close();
  }
}

function once(response: ServerResponse, name: string): Promise<void> {
  return new Promise((resolve) => response.once(name, () => resolve()));
}

const server = createServer((request, response) => {
  const path = join(directory, normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname)));
  if (request.method === 'HEAD') {
    stat(path).then(
      ({ size }) => response.writeHead(200, { 'content-length': size, 'accept-ranges': 'bytes' }).end(),
      () => response.writeHead(404).end(),
    );
    return;
  }
  send(response, path, request.headers.range).catch(() => (response.headersSent ? response.destroy() : response.writeHead(404).end()));
});
server.listen(Number(port), address, () => console.log('up'));
