import type { CatalogueBench } from './catalogue.ts';
import type { Load } from './idle-servers.ts';
import type { Row, Spread } from './samples.ts';

const ms = (value: number) => (value < 10 ? value.toFixed(2) : value.toFixed(1));
const spread = ({ p50, p99 }: Spread) => `${ms(p50)} / ${ms(p99)}`;

export function rowsTable(rows: readonly Row[]): string {
  return [
    '| p50 / p99, ms | small | large | p99 × | n |',
    '|---|--:|--:|--:|--:|',
    ...rows.map(
      ({ what, small, large }) => `| ${what} | ${spread(small)} | ${spread(large)} | ${(large.p99 / small.p99).toFixed(2)} | ${large.n} |`,
    ),
  ].join('\n');
}

export function loadTable(loads: readonly (readonly [string, Load])[]): string {
  return [
    '| servers that have nothing to tell | statements/s | rows read/s | CPU of MariaDB, cores | one of them, p50 / p99 ms |',
    '|---|--:|--:|--:|--:|',
    ...loads.map(([what, { servers, statementsPerSecond, rowsPerSecond, cpu, heartbeat }]) => {
      return `| ${servers}: ${what} | ${statementsPerSecond.toFixed(0)} | ${rowsPerSecond.toFixed(0)} | ${cpu.toFixed(2)} | ${spread(heartbeat)} |`;
    }),
  ].join('\n');
}

export function catalogueTable({ objects, changes, fullSeconds, rowByRowSeconds, incrementalSeconds, emptyMs }: CatalogueBench): string {
  return [
    `| ${objects} objects | |`,
    '|---|--:|',
    `| all, in pages | ${fullSeconds.toFixed(2)} s |`,
    `| all, row by row | ${rowByRowSeconds.toFixed(1)} s, ${(rowByRowSeconds / fullSeconds).toFixed(1)} times as long |`,
    `| ${changes} changes of them | ${ms(incrementalSeconds * 1000)} ms, ${(fullSeconds / incrementalSeconds).toFixed(0)} times cheaper than all |`,
    `| a look that finds nothing, ${Math.ceil(objects / 100)} objects there | ${ms(emptyMs.few)} ms |`,
    `| a look that finds nothing, ${objects} objects there | ${ms(emptyMs.all)} ms |`,
  ].join('\n');
}
