import type { Json } from '../../core/canonical-json.ts';
import type { CheckReport } from '../../core/content-store.ts';
import type { Image } from '../../core/image.ts';
import { isoTime } from '../../core/iso-time.ts';
import type { RepairReport } from '../care/repair-store.ts';

/** An image as the API and `--json` show it: times ISO 8601, sizes in bytes. */
export function viewImage(image: Image): { readonly [key: string]: Json } {
  const { id, name, version, kind, arch, group, state, waiting, origin, manifest, sizeBytes, usedBytes, storedBytes, disk } = image;
  return {
    ...{ id, name, version, kind, arch, group: group ?? null, state, waiting, origin, manifest, sizeBytes, usedBytes, storedBytes },
    createdAt: isoTime(image.createdAt),
    verifiedAt: isoTime(image.verifiedAt),
    disk: disk ?? null,
  };
}

/** The same with whether it was made here: such an image can be deleted here, and no parent's takes its place. */
export function viewHeldImage(site: { readonly self: { readonly id: string } }, image: Image): { readonly [key: string]: Json } {
  return { ...viewImage(image), local: image.origin === site.self.id };
}

/** A report on the store's health; `clean` says that nothing is damaged. */
export function viewReport(report: CheckReport): { readonly [key: string]: Json } {
  return { ...report, damages: report.damages.map((damage) => ({ ...damage })), clean: report.damages.length === 0 };
}

/** What a repair found and what it came to; `clean` says that nothing stays damaged. */
export function viewRepair(report: RepairReport): { readonly [key: string]: Json } {
  const { found, healed, words, ...rest } = report;
  return { ...viewReport(rest), found: found.map((damage) => ({ ...damage })), healed, words: words && { ...words } };
}
