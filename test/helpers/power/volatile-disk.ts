import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';

/** What a disk writes whole or not at all: one physical sector of the last fifteen years' disks. */
export const SECTOR_BYTES = 4096;

export type DiskFigures = { readonly flushes: number; readonly flushedSectors: number; readonly lostSectors: number };

/**
 * A raw file as a disk with a write cache that loses power: what was written is read back, but only a flush (or a
 * write through) brings it to the file. `cut` is the moment the power goes: of every sector that was written and not
 * flushed, `survives` says whether it reached the medium; from then on the disk does nothing until `on`.
 *
 * Everything is done at once, in the order it was asked for; offsets and lengths are in octets.
 */
export class VolatileDisk {
  readonly sizeBytes: number;
  readonly #file: number;
  readonly #cache = new Map<number, Buffer>();
  #figures = { flushes: 0, flushedSectors: 0, lostSectors: 0 };
  #hasPower = true;

  constructor(path: string) {
    this.#file = openSync(path, 'r+');
    this.sizeBytes = fstatSync(this.#file).size;
  }

  get hasPower(): boolean {
    return this.#hasPower;
  }

  get figures(): DiskFigures {
    return { ...this.#figures };
  }

  read(offset: number, length: number): Buffer {
    const data = Buffer.alloc(length);
    readSync(this.#file, data, 0, length, offset);
    for (const { sector, from, to, at } of sectorsOf(offset, length)) this.#cache.get(sector)?.copy(data, at, from, to);
    return data;
  }

  write(offset: number, data: Buffer): void {
    for (const { sector, from, to, at } of sectorsOf(offset, data.length)) {
      const content = this.#cache.get(sector) ?? this.#medium(sector);
      data.copy(content, from, at, at + to - from);
      this.#cache.set(sector, content);
    }
  }

  flush(): void {
    this.#figures.flushes += 1;
    this.#figures.flushedSectors += this.#cache.size;
    for (const [sector, content] of this.#cache) this.#write(sector, content);
    this.#cache.clear();
  }

  /** The power goes. */
  cut(survives: () => boolean): void {
    this.#hasPower = false;
    for (const [sector, content] of this.#cache) {
      if (survives()) this.#write(sector, content);
      else this.#figures.lostSectors += 1;
    }
    this.#cache.clear();
  }

  /** The power is back. */
  on(): void {
    this.#hasPower = true;
  }

  close(): void {
    closeSync(this.#file);
  }

  #medium(sector: number): Buffer {
    const content = Buffer.alloc(SECTOR_BYTES);
    readSync(this.#file, content, 0, SECTOR_BYTES, sector * SECTOR_BYTES);
    return content;
  }

  #write(sector: number, content: Buffer): void {
    writeSync(this.#file, content, 0, Math.min(SECTOR_BYTES, this.sizeBytes - sector * SECTOR_BYTES), sector * SECTOR_BYTES);
  }
}

/** The sectors that a stretch touches: `from` to `to` of the sector is at `at` of the stretch. */
function* sectorsOf(offset: number, length: number): Generator<{ sector: number; from: number; to: number; at: number }> {
  for (let at = 0; at < length; ) {
    const from = (offset + at) % SECTOR_BYTES;
    const to = Math.min(SECTOR_BYTES, from + length - at);
    yield { sector: Math.floor((offset + at) / SECTOR_BYTES), from, to, at };
    at += to - from;
  }
}
