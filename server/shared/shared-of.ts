import { AppError } from '../../core/errors.ts';
import type { Site } from '../site.ts';
import type { Shared } from './open.ts';

/** The database where this server meets others. Throws `wrong_state` when it meets none. */
export function sharedOf(site: Site): Shared {
  if (site.shared !== undefined) return site.shared;
  throw new AppError('wrong_state', 'this server meets no others in a shared database', {
    hint: 'for a parent by link: waystation server join URL; for a shared database: waystation server database move NAME|URL',
  });
}
