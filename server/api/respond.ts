import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Problem } from './errors.ts';
import { Reply } from './route.ts';

/** Sends what a handler returned: a Reply as it says, nothing as 204, anything else as JSON. */
export async function sendResult(response: ServerResponse, result: unknown): Promise<void> {
  if (result instanceof Reply) return sendReply(response, result);
  if (result === undefined) {
    response.writeHead(204).end();
    return;
  }
  sendText(response, 200, { 'content-type': 'application/json' }, JSON.stringify(result));
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
