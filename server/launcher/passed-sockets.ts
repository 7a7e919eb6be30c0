/** File descriptors of sockets that somebody opened for us, by name. */
export type PassedSockets = ReadonlyMap<string, readonly number[]>;

const FIRST_FD = 3;

/**
 * The sockets that systemd or our launcher passed (sd_listen_fds(3)): LISTEN_FDS counts them from descriptor 3, LISTEN_PID
 * says for whom they are, LISTEN_FDNAMES gives their names. Empty when they are not for this process.
 *
 * Our names: `dhcp.IFACE` (port 67) and `pxe.IFACE` (port 4011), one each per interface.
 */
export function passedSockets(env: NodeJS.ProcessEnv, pid: number): PassedSockets {
  const count = Number(env['LISTEN_FDS'] ?? 0);
  if (Number(env['LISTEN_PID']) !== pid || !Number.isInteger(count) || count < 1 || count > 1024) return new Map();
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':');
  const sockets = new Map<string, number[]>();
  for (let index = 0; index < count; index += 1) {
    const name = names[index] || 'unknown';
    sockets.set(name, [...(sockets.get(name) ?? []), FIRST_FD + index]);
  }
  return sockets;
}
