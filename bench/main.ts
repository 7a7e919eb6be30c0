import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { replaceFigures } from './figures.ts';
import { benchImport } from './import.ts';
import { benchJourney } from './journey.ts';
import { benchPxe } from './pxe.ts';

/*
 * `make bench`: measured figures of this machine, peers beside us in the same run. Prints them, and with --write puts
 * them into docs/benchmarks.md and README.md between their marks. Compare ratios, not rates: machines are shared.
 */
const FIGURES = { begin: '<!-- figures: made by `make bench ARGS=--write` -->', end: '<!-- end of figures -->' };
const ROOT = new URL('../', import.meta.url);

const { values } = parseArgs({ options: { json: { type: 'boolean' }, write: { type: 'boolean' }, quick: { type: 'boolean' } } });

const imported = await benchImport({});
const pxe = await benchPxe();
const journeys = values.quick ? [] : [await benchJourney('bios'), await benchJourney('uefi')];

const rows: [string, string][] = [
  ['import of a disk', `${imported.importMBs} MB/s`],
  ['`zstd -3 -T2` of the same file, same run', `${imported.zstdMBs} MB/s (import is ${imported.importOverZstd} × of it)`],
  ['`sha256sum` of the same file, same run', `${imported.sha256MBs} MB/s`],
  [
    'PXE answer p99, idle → during an import',
    `${pxe.idleP99Ms.toFixed(2)} → ${pxe.busyP99Ms.toFixed(2)} ms (${pxe.ratio.toFixed(1)} ×, n = ${pxe.count})`,
  ],
];
for (const { firmware, first, again, stages, diskMBs } of journeys) {
  if (firmware === 'bios') {
    rows.push([
      'first replication over the link',
      `${mb(first.bytesReceived)} down, ${mb(first.bytesSent)} up for ${mb(first.bytesNeeded)} of content`,
    ]);
    rows.push(['second replication, nothing new', `${again.bytesReceived + again.bytesSent} bytes, ${again.requests} request(s)`]);
    rows.push(['image bytes counted through rsync', `${((first.bytesRsync / first.bytesReceived) * 100).toFixed(1)} %`]);
  }
  rows.push([`${firmware.toUpperCase()}: power-on → engine`, seconds(stages.engine)]);
  rows.push([
    `${firmware.toUpperCase()}: order → disk written and read back`,
    `${seconds(stages.written - stages.engine)}, ${diskMBs.toFixed(1)} MB/s to disk`,
  ]);
  rows.push([`${firmware.toUpperCase()}: restart → first boot has called home`, seconds(stages.ended - stages.rebooted)]);
}

const text = [`| what | measured |`, `|---|---|`, ...rows.map(([what, figure]) => `| ${what} | ${figure} |`)].join('\n');
const note = `${new Date().toISOString().slice(0, 10)}, ${cpus().length} shared cores, QEMU software emulation (TCG) for the machine.`;
console.log(values.json ? JSON.stringify({ imported, pxe, journeys }, null, 2) : `${text}\n\n${note}`);
if (values.write)
  for (const page of ['README.md', 'docs/benchmarks.md']) await replaceFigures(new URL(page, ROOT), FIGURES, `${text}\n\n${note}`);

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(2)} MB`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
