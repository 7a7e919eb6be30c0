import { access, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Finding, fail, ok, unknown } from './finding.ts';

/** Written by systemd-timesyncd, chrony's and ntpsec's services when they have a source. */
const SYNCHRONISED = ['/run/systemd/timesync/synchronized', '/run/chrony/chronyd.pid', '/run/ntpd.pid'];
/** No release of ours is older, so a clock that shows less was never set. */
const EARLIEST = Date.UTC(2026, 0, 1);
const SLACK_MS = 60_000;

/** Certificates and the catalogue's expiry need a clock that is about right; order never depends on it. */
export async function checkClock(dataDir: string, now: number): Promise<readonly Finding[]> {
  const text = new Date(now).toISOString();
  if (now < EARLIEST) return [fail('clock', `it shows ${text}`, 'set it, or install systemd-timesyncd or chrony')];
  const newest = await newestWrite(dataDir);
  if (newest !== undefined && newest > now + SLACK_MS) {
    const message = `it shows ${text}, but this server wrote its log at ${new Date(newest).toISOString()}`;
    return [fail('clock', message, 'set it right: it has gone back')];
  }
  for (const path of SYNCHRONISED) {
    if (await exists(path)) return [ok('clock', `${text}, kept by the system's time service`)];
  }
  return [
    unknown(
      'clock',
      `${text}; no time service was found that keeps it`,
      'install systemd-timesyncd or chrony, or see that the host sets it',
    ),
  ];
}

async function newestWrite(dataDir: string): Promise<number | undefined> {
  for (const name of ['log/waystation.log', 'server-id']) {
    const path = join(dataDir, name);
    if (await exists(path)) return lastTime(path);
  }
  return undefined;
}

/** The time in the log's last line, else the file's own. */
async function lastTime(path: string): Promise<number> {
  const { mtimeMs, size } = await stat(path);
  if (!path.endsWith('.log') || size > 16_000_000) return mtimeMs;
  const times = (await readFile(path, 'utf8')).match(/"time":"[^"]+"/g);
  const time = Date.parse(times?.at(-1)?.slice(8, -1) ?? '');
  return Number.isNaN(time) ? mtimeMs : time;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
