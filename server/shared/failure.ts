import { AppError } from '../../core/errors.ts';

/**
 * What went wrong with the shared database, and so what may be done about it:
 *
 *   again      the database undid the transaction and asks for it once more: deadlock, lock wait, certification failure
 *   elsewhere  this host takes no work, another one may: read-only, not part of the cluster, shutting down, no connection free
 *   lost       the connection broke, or there was none
 *   refused    somebody has to do something: sign-in, rights, name of the database, certificate, release
 *   other      a statement is wrong: ours to mend
 */
export type Failure = { readonly kind: 'again' | 'elsewhere' | 'lost' | 'refused' | 'other'; readonly error: AppError };

type Raw = {
  readonly code?: string;
  readonly errno?: number;
  readonly errcode?: number;
  readonly fatal?: boolean;
  readonly message: string;
};

const AGAIN = new Set([1213, 1205, 1020]);
/** 1180: a node of a cluster lost the others while it committed; whether they kept it is not known. */
const ELSEWHERE = new Set([1047, 1053, 1180, 1290, 1836]);
const FULL = new Set([1040, 1203, 1226]);
const LOST = new Set([1046, 1317, 1927, 2006, 2013]);
const REFUSED = new Set([1044, 1045, 1049, 1130, 1142, 1143, 1698]);
const NETWORK = /^(E(CONN|HOST|NET|PIPE|TIMEDOUT|AI_|NOTFOUND)|PROTOCOL_(CONNECTION_LOST|SEQUENCE_TIMEOUT|ENQUEUE))/;
const TLS = /^(HANDSHAKE_|ERR_TLS|ERR_SSL|CERT_|SELF_SIGNED|UNABLE_TO|DEPTH_ZERO)/;

/** `where` names the database and its hosts. The words never hold the values of a statement. */
export function classify(error: unknown, where: string): Failure {
  if (error instanceof AppError) return { kind: 'other', error };
  const raw = error as Raw;
  const { errno = 0, code = '' } = raw;
  const fail = (
    kind: Failure['kind'],
    appCode: 'unreachable' | 'busy' | 'config' | 'failed' | 'version_mismatch',
    words: string,
    hint: string,
  ) => ({
    kind,
    error: new AppError(appCode, `${where}: ${words}`, { hint, cause: error }),
  });
  if (AGAIN.has(errno) || (raw.errcode !== undefined && (raw.errcode & 0xff) === 5))
    return fail('again', 'busy', 'others write the same rows', 'it is tried again');
  if (FULL.has(errno))
    return fail('elsewhere', 'busy', `every connection it allows is in use (${code})`, 'raise max_connections: each server takes up to 4');
  if (ELSEWHERE.has(errno) || code === 'NOT_WRITABLE')
    return fail(
      'elsewhere',
      'unreachable',
      `no host takes writes (${code === 'NOT_WRITABLE' ? raw.message : code})`,
      'see the cluster; it is tried again',
    );
  if (code === 'NO_SCHEMA' || errno === 1146)
    return fail('refused', 'config', 'it lacks the tables of this release', 'run waystation migrate');
  if (code === 'ER_SECURE_TRANSPORT_REQUIRED' || /insecure transport/i.test(raw.message))
    return fail(
      'refused',
      'config',
      'it takes no connection without TLS',
      'set "ca" of the database to the CA that signed its certificate',
    );
  if (code === 'ER_TOO_OLD') return fail('refused', 'version_mismatch', raw.message, 'upgrade the database');
  if (REFUSED.has(errno))
    return fail(
      'refused',
      'config',
      `it refused us: ${code}`,
      'check user, password file, database name and grants, and "ca" if it requires TLS',
    );
  if (TLS.test(code) || /certificate|Server does not support secure connection/i.test(raw.message))
    return fail(
      'refused',
      'config',
      `its certificate is not accepted: ${code || raw.message}`,
      'check "ca" of the database and the name in the certificate',
    );
  if (
    LOST.has(errno) ||
    raw.fatal === true ||
    NETWORK.test(code) ||
    /closed state|Timeout acquiring a connection|acquire connection/i.test(raw.message)
  )
    return fail(
      'lost',
      'unreachable',
      `cannot be reached: ${code || raw.message.split('\n')[0]}`,
      'check that it runs, and host and port; it is tried again',
    );
  return fail('other', 'failed', `a statement failed: ${code || 'no code'}`, 'see the log');
}

/** Whether a COMMIT that ended so may have been carried out all the same. */
export function isInDoubt({ kind }: Failure): boolean {
  return kind === 'lost' || kind === 'elsewhere';
}
