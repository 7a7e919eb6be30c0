import { pipeline } from 'node:stream';
import { AppError } from '../../../core/errors.ts';
import { bootScriptFor } from '../../boot/decide.ts';
import { type ByteRange, openEngineFile, parseRange, sliceStream } from '../../boot/files.ts';
import { parseMachine } from '../../boot/machine.ts';
import { diskScript, firstScript } from '../../boot/script.ts';
import { Reply, type Route, type RouteContext, route } from '../route.ts';

const SCRIPT = { 'content-type': 'text/plain; charset=us-ascii', 'cache-control': 'no-store' };

function scriptReply(script: string): Reply {
  return new Reply(200, script, { ...SCRIPT, 'content-length': String(Buffer.byteLength(script)) });
}

/** A machine in front of a failure of ours boots its disk and shows why: an error page would leave it standing. */
async function bootScript({ site, query, origin }: RouteContext): Promise<Reply> {
  const machine = parseMachine(query);
  try {
    return scriptReply(await bootScriptFor(site, machine, origin, query['choice']));
  } catch (error) {
    site.log.error('boot script', { mac: machine.macs[0], error: error instanceof Error ? error.message : String(error) });
    return scriptReply(diskScript(machine.firmware, 'the server cannot say what to boot (its log tells why)'));
  }
}

async function engineFile({ site, params, headers }: RouteContext): Promise<Reply> {
  const file = await openEngineFile(site, params['arch'] ?? '', params['manifest'] ?? '', params['file'] ?? '');
  if (file === undefined) throw new AppError('not_found', 'there is no such boot file');
  const range = parseRange(headers.range, file.sizeBytes);
  // The address holds the content's digest: what it names never changes.
  const common = {
    'content-type': 'application/octet-stream',
    'accept-ranges': 'bytes',
    'cache-control': 'public, max-age=86400, immutable',
  };
  if (range === 'whole') return new Reply(200, file.stream, { ...common, 'content-length': String(file.sizeBytes) });
  if (range === 'unsatisfiable') {
    file.stream.destroy();
    return new Reply(416, undefined, { 'content-range': `bytes */${file.sizeBytes}`, 'content-length': '0' });
  }
  const body = pipeline(file.stream, sliceStream(range), () => undefined); // an error reaches the reader through the body
  return new Reply(206, body, { ...common, ...rangeHeaders(range, file.sizeBytes) });
}

function rangeHeaders({ first, last }: ByteRange, sizeBytes: number): Record<string, string> {
  return { 'content-range': `bytes ${first}-${last}/${sizeBytes}`, 'content-length': String(last - first + 1) };
}

export const BOOT_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/boot.ipxe',
    listener: 'boot',
    action: 'boot.read',
    summary: 'The first iPXE script: asks for the one of this machine',
    handle: async () => scriptReply(firstScript()),
  }),
  route({
    method: 'GET',
    path: '/boot/script',
    listener: 'boot',
    action: 'boot.read',
    summary: 'What the machine that asks boots now',
    handle: bootScript,
  }),
  route({
    method: 'GET',
    path: '/boot/:arch/:manifest/:file',
    listener: 'boot',
    action: 'boot.read',
    summary: 'Kernel, initramfs and loaders of a published engine',
    handle: engineFile,
  }),
];
