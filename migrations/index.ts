import type { Knex } from 'knex';
import * as foundation from './0001-foundation.ts';
import * as schedule from './0002-schedule.ts';
import * as trustedServers from './0003-trusted-servers.ts';
import * as holdings from './0004-holdings.ts';
import * as control from './0005-control.ts';
import * as care from './0006-care.ts';
import * as catalogueMarks from './0007-catalogue-marks.ts';
import * as offers from './0008-offers.ts';
import * as consoleSessions from './0011-console-sessions.ts';
import * as peers from './0012-peers.ts';
import * as succession from './0013-succession.ts';
import * as largeSites from './0014-large-sites.ts';
import * as tokenUse from './0015-token-use.ts';
import * as reportedServerNames from './0016-reported-server-names.ts';

export type Migration = { readonly name: string; readonly up: (db: Knex) => Promise<void> };

/** Every schema change, in order. A released one is never edited; a new one goes at the end. */
export const MIGRATIONS: readonly Migration[] = [
  { name: '0001-foundation', up: foundation.up },
  { name: '0002-schedule', up: schedule.up },
  { name: '0003-trusted-servers', up: trustedServers.up },
  { name: '0004-holdings', up: holdings.up },
  { name: '0005-control', up: control.up },
  { name: '0006-care', up: care.up },
  { name: '0007-catalogue-marks', up: catalogueMarks.up },
  { name: '0008-offers', up: offers.up },
  { name: '0011-console-sessions', up: consoleSessions.up },
  { name: '0012-peers', up: peers.up },
  { name: '0013-succession', up: succession.up },
  { name: '0014-large-sites', up: largeSites.up },
  { name: '0015-token-use', up: tokenUse.up },
  { name: '0016-reported-server-names', up: reportedServerNames.up },
];
