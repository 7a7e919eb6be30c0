import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Problem } from './errors.ts';
import { Reply } from './route.ts';

/** Sends what a handler returned: a Reply as it says, nothing as 204, anything else as JSON. */
export async function sendResult(response: ServerResponse, result: unknown): Promise<void> {
  if (result instanceof Reply) return sendReply(response, result);
  if (result === undefined) {
    response.writeHead(204).end();
    return;
  }
  const text = JSON.stringify(result);
  const headers = { 'content-type': 'application/json' };
  if (text.length < SQUEEZED_FROM || !takesGzip(response.req.headers['accept-encoding'])) return sendText(response, 200, headers, text);
  const octets = await squeeze(text, { level: 1 });
  response
    .writeHead(200, {
      'cache-control': 'no-store',
      ...headers,
      'content-encoding': 'gzip',
      vary: 'accept-encoding',
      'content-length': octets.length,
    })
    .end(octets);
}

const squeeze = promisify(gzip);
/** The console asks for the list of all servers every few seconds: 455 KB of 500 branches are 22 KB then. Our own clients do not ask for it. */
const SQUEEZED_FROM = 32_768;

/** Whether who asks reads gzip (RFC 9110 §12.5.3). */
export function takesGzip(accepted: string | string[] | undefined): boolean {
  return /\bgzip\b(?!\s*;\s*q=0)/.test(String(accepted ?? ''));
}

export function sendProblem(response: ServerResponse, answer: Problem): void {
  if (response.headersSent) {
    // Half of a stream is out: only a broken connection says that it is not whole.
    response.destroy();
    return;
  }
  const headers: Record<string, string> = { 'content-type': 'application/problem+json' };
  if (answer.status === 401) headers['www-authenticate'] = 'Bearer realm="waystation"';
  if (answer.status === 503) headers['retry-after'] = '5';
  sendText(response, answer.status, headers, JSON.stringify(answer));
}

async function sendReply(response: ServerResponse, reply: Reply): Promise<void> {
  const isHead = response.req.method === 'HEAD';
  response.writeHead(reply.status, reply.headers);
  if (reply.body instanceof Readable) {
    if (isHead) {
      reply.body.destroy();
      response.end();
    } else await pipeline(reply.body, response);
    return;
  }
  response.end(isHead ? undefined : reply.body);
}

function sendText(response: ServerResponse, status: number, headers: Record<string, string>, body: string): void {
  const length = String(Buffer.byteLength(body));
  response.writeHead(status, { 'cache-control': 'no-store', ...headers, 'content-length': length }).end(body);
}
