import type { Migration } from '../index.ts';
import * as meetingPlace from './0001-meeting-place.ts';
import * as succession from './0003-succession.ts';

/**
 * The schema of the shared database, in order, apart from a server's own (migrations/index.ts). Servers of different
 * releases meet there: a later change only adds, so that an older release goes on working beside it.
 */
export const SHARED_MIGRATIONS: readonly Migration[] = [
  { name: 'shared-0001-meeting-place', up: meetingPlace.up },
  { name: 'shared-0003-succession', up: succession.up },
];
