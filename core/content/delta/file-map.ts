import { hash } from 'node:crypto';
import { float64, growing, lastAtMost, uint32 } from './growing.ts';

/** A stretch of a file: `length` octets from `fileOffset` on lie at `diskOffset` of the image. */
export type FileRun = { readonly fileOffset: number; readonly diskOffset: number; readonly length: number };

/**
 * Which file owns what of an image, in about 50 octets a file and 24 a stretch: names are kept as 48 bits of their SHA-256.
 * Files are numbered in the order in which they came.
 */
export type FileMap = {
  readonly files: number;
  /** The file that owns this octet of the image, and where in the file it is. */
  ownerOf(diskOffset: number): { readonly file: number; readonly fileOffset: number } | undefined;
  /** Where in the image this octet of a file lies, or -1. */
  placeOf(file: number, fileOffset: number): number;
  likenessOf(file: number): FileLikeness;
  /** The file that is most like this one: same path; else the same path but for digits, else the same name, of nearest size; or -1. */
  find(likeness: FileLikeness): number;
};

export type FileLikeness = { readonly path: number; readonly masked: number; readonly name: number; readonly sizeBytes: number };

export type FileMapMaker = {
  add(file: { readonly path: string; readonly sizeBytes: number; readonly runs: Iterable<FileRun> }): void;
  finish(): FileMap;
};

/** Files and stretches beyond these are not taken in: bounds the memory that an image may cost. */
const MAX_FILES = 1_000_000;
const MAX_RUNS = 2_000_000;

export function createFileMap(): FileMapMaker {
  const files = {
    path: growing(float64),
    masked: growing(float64),
    name: growing(float64),
    size: growing(float64),
    firstRun: growing(uint32),
  };
  const runs = { fileOffset: growing(float64), diskOffset: growing(float64), length: growing(uint32), file: growing(uint32) };
  return {
    add({ path, sizeBytes, runs: pieces }) {
      if (files.path.length >= MAX_FILES) return;
      const file = files.path.length;
      const likeness = likenessOf(path, sizeBytes);
      files.path.push(likeness.path);
      files.masked.push(likeness.masked);
      files.name.push(likeness.name);
      files.size.push(sizeBytes);
      files.firstRun.push(runs.file.length);
      for (const { fileOffset, diskOffset, length } of pieces) {
        if (runs.file.length >= MAX_RUNS) return;
        runs.fileOffset.push(fileOffset);
        runs.diskOffset.push(diskOffset);
        runs.length.push(length);
        runs.file.push(file);
      }
    },
    finish() {
      files.firstRun.push(runs.file.length);
      return mapOf(
        {
          path: files.path.values(),
          masked: files.masked.values(),
          name: files.name.values(),
          size: files.size.values(),
          firstRun: files.firstRun.values(),
        },
        {
          fileOffset: runs.fileOffset.values(),
          diskOffset: runs.diskOffset.values(),
          length: runs.length.values(),
          file: runs.file.values(),
        },
      );
    },
  };
}

function likenessOf(path: string, sizeBytes: number): FileLikeness {
  const names = path.split('/');
  const name = names.at(-1) || `${names.at(-2)}/`;
  return { path: keyOf(path), masked: keyOf(path.replace(/[0-9]+/g, '#')), name: keyOf(name), sizeBytes };
}

function keyOf(text: string): number {
  return hash('sha256', Buffer.from(text, 'latin1'), 'buffer').readUIntBE(0, 6);
}

type Files = { path: Float64Array; masked: Float64Array; name: Float64Array; size: Float64Array; firstRun: Uint32Array };
type Runs = { fileOffset: Float64Array; diskOffset: Float64Array; length: Uint32Array; file: Uint32Array };

function mapOf(files: Files, runs: Runs): FileMap {
  const byPlace = orderOf(runs.diskOffset);
  const places = runs.diskOffset.slice().sort();
  const indexes = [lookupOf(files.path), lookupOf(files.masked), lookupOf(files.name)] as const;

  function covers(run: number, from: Float64Array, offset: number): boolean {
    return run >= 0 && offset < (from[run] ?? 0) + (runs.length[run] ?? 0);
  }

  return {
    files: files.path.length,
    ownerOf(diskOffset) {
      const run = byPlace[lastAtMost(places, diskOffset)] ?? -1;
      if (!covers(run, runs.diskOffset, diskOffset)) return undefined;
      return { file: runs.file[run] ?? 0, fileOffset: (runs.fileOffset[run] ?? 0) + diskOffset - (runs.diskOffset[run] ?? 0) };
    },
    placeOf(file, fileOffset) {
      const [first, end] = [files.firstRun[file] ?? 0, files.firstRun[file + 1] ?? 0];
      const run = lastAtMost(runs.fileOffset, fileOffset, first, end);
      if (run < first || !covers(run, runs.fileOffset, fileOffset)) return -1;
      return (runs.diskOffset[run] ?? 0) + fileOffset - (runs.fileOffset[run] ?? 0);
    },
    likenessOf: (file) => ({
      path: files.path[file] ?? 0,
      masked: files.masked[file] ?? 0,
      name: files.name[file] ?? 0,
      sizeBytes: files.size[file] ?? 0,
    }),
    find({ path, masked, name, sizeBytes }) {
      for (const [index, key] of [path, masked, name].entries()) {
        const found = indexes[index]?.(key, (file) => Math.abs((files.size[file] ?? 0) - sizeBytes)) ?? -1;
        if (found >= 0) return found;
      }
      return -1;
    },
  };
}

/** The places of these values in ascending order; equal ones in the order in which they came. */
function orderOf(values: Float64Array): Uint32Array {
  return Uint32Array.from(values.keys()).sort((a, b) => (values[a] ?? 0) - (values[b] ?? 0) || a - b);
}

/** How many files of the same key are compared: a name like `__init__.py` has thousands. */
const MOST_COMPARED = 2000;

/** Of the files with this key the one that costs least, the first of equal ones; or -1. */
function lookupOf(keys: Float64Array): (key: number, costOf: (file: number) => number) => number {
  const order = orderOf(keys);
  const sorted = keys.slice().sort();
  return (key, costOf) => {
    const last = lastAtMost(sorted, key);
    let best = -1;
    let bestCost = Number.POSITIVE_INFINITY;
    for (let at = last; at >= 0 && sorted[at] === key && last - at < MOST_COMPARED; at--) {
      const cost = costOf(order[at] ?? 0);
      if (cost <= bestCost) [best, bestCost] = [order[at] ?? 0, cost];
    }
    return best;
  };
}
