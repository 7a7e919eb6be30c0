import { AppError } from '../../core/errors.ts';

/** Turns a failed bind into words: `port_in_use` or `denied`, with the port and what to do. */
export function bindError(error: unknown, what: string, port: number): AppError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'EADDRINUSE') {
    return new AppError('port_in_use', `UDP port ${port} (${what}) is in use`, {
      hint: `"ss -lunp sport = :${port}" shows by what; stop it or choose another port`,
      cause: error,
    });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new AppError('denied', `UDP port ${port} (${what}) needs rights that this user does not have`, {
      hint: 'start as root, with CAP_NET_BIND_SERVICE, or through systemd sockets (docs/examples)',
      cause: error,
    });
  }
  return new AppError('failed', `cannot open UDP port ${port} (${what}): ${(error as Error).message}`, { cause: error });
}
