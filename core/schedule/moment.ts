import type { Zone } from './zone.ts';

/**
 * ISO 8601 date and time as epoch ms; without `Z` or an offset on the clock of the zone (`Zone.instant` says what that means when
 * clocks change). Undefined for what is no time, or one before 1970.
 */
export function readMoment(text: string, zone: Zone): number | undefined {
  if (!/^\d{4}-\d{2}-\d{2}T/.test(text)) return undefined;
  const isPlaced = /(Z|[+-]\d{2}:?\d{2})$/i.test(text);
  const at = Date.parse(isPlaced ? text : `${text}Z`);
  const moment = isPlaced || Number.isNaN(at) ? at : onTheClock(at, zone);
  return moment >= 0 ? moment : undefined;
}

/** The moment at which the clock of the zone shows what one in UTC shows at `at`. */
function onTheClock(at: number, zone: Zone): number {
  const shown = new Date(at);
  const [year, month, day] = [shown.getUTCFullYear(), shown.getUTCMonth() + 1, shown.getUTCDate()];
  const time = { hour: shown.getUTCHours(), minute: shown.getUTCMinutes(), second: shown.getUTCSeconds() };
  return zone.instant({ year, month, day, ...time }) + shown.getUTCMilliseconds();
}
