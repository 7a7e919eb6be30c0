import { AppError } from '../../../core/errors.ts';
import { type ConsoleFile, openConsoleFiles } from '../../web/console-files.ts';
import { takesGzip } from '../respond.ts';
import { Reply, type Route, type RouteContext, route } from '../route.ts';

/** Only what this server itself sent runs, is shown or is asked; nobody frames it; no text becomes markup or script. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

const NOT_BUILT =
  '<!doctype html><html lang="en"><meta charset="utf-8"><title>Waystation</title><h1>The console is not built on this server</h1>' +
  '<p>Run <code>script/setup run</code> in the directory of the program, then load this page again. Everything else works: the command ' +
  'line and the API need no console.</p></html>';

/** The console's page and its files. They hold nothing secret: what the page shows it asks the API for, as whoever signed in. */
export function consoleRoutes(files = openConsoleFiles()): readonly Route[] {
  const page = async ({ headers }: RouteContext) => {
    const file = await files.read('index.html', takesGzip(headers['accept-encoding']));
    return file === undefined ? new Reply(503, NOT_BUILT, headersOf('text/html; charset=utf-8')) : reply(file);
  };
  return [
    route({
      method: 'GET',
      path: '/',
      listener: 'api',
      action: 'console.read',
      summary: 'To the console',
      handle: async () => new Reply(302, undefined, { location: '/console/', 'content-length': '0' }),
    }),
    route({
      method: 'GET',
      path: '/console',
      listener: 'api',
      action: 'console.read',
      summary: 'The page of the console',
      handle: page,
    }),
    route({
      method: 'GET',
      path: '/console/*path',
      listener: 'api',
      action: 'console.read',
      summary: 'Scripts, styles and fonts of the console',
      handle: async ({ params, headers }) => {
        const file = await files.read(params['path'] ?? '', takesGzip(headers['accept-encoding']));
        if (file !== undefined) return reply(file);
        throw new AppError('not_found', 'the console has no such file', { hint: 'load the page again: the server was updated' });
      },
    }),
  ];
}

function reply({ type, octets, isSqueezed, isLasting }: ConsoleFile): Reply {
  const encoding: Record<string, string> = isSqueezed ? { 'content-encoding': 'gzip' } : {};
  const cache = isLasting ? 'public, max-age=31536000, immutable' : 'no-cache';
  const length = { 'content-length': String(octets.length), vary: 'accept-encoding' };
  return new Reply(200, octets, { ...headersOf(type), 'cache-control': cache, ...encoding, ...length });
}

function headersOf(type: string): Record<string, string> {
  return { 'content-type': type, 'cache-control': 'no-store', 'content-security-policy': POLICY };
}
