import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Writable } from 'node:stream';

export type LogFileOptions = { readonly path: string; readonly maxBytes: number; readonly maxFiles: number };

/**
 * A log file that is put aside when it is full: `x.log` becomes `x1.log`, that `x2.log`, and so on up to `maxFiles`
 * files. Lines are never split over two files, and every line taken before `end` is in a file when `finish` comes
 * (winston's own file transport loses lines when it ends while it rotates: seen). A full or lost disk loses lines and
 * says so once on standard error; the work goes on, and so does the log when there is room again.
 */
export class LogFile extends Writable {
  readonly #options: LogFileOptions;
  #file: FileHandle | undefined;
  #size = 0;
  #isFailing = false;

  constructor(options: LogFileOptions) {
    super({ highWaterMark: 1 << 20 });
    this.#options = options;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    void this.#append([chunk]).finally(done);
  }

  override _writev(chunks: readonly { chunk: Buffer }[], done: () => void): void {
    void this.#append(chunks.map(({ chunk }) => chunk)).finally(done);
  }

  override _final(done: (error?: Error | null) => void): void {
    const closed = this.#file?.close() ?? Promise.resolve();
    closed.then(() => done(), done);
  }

  async #append(lines: readonly Buffer[]): Promise<void> {
    try {
      for (const line of lines) await this.#appendLine(line);
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing) process.stderr.write(`cannot write ${this.#options.path}: ${(error as Error).message}\n`);
      this.#isFailing = true;
    }
  }

  async #appendLine(line: Buffer): Promise<void> {
    if (this.#size > 0 && this.#size + line.byteLength > this.#options.maxBytes) await this.#rotate();
    this.#file ??= await this.#open();
    await this.#file.appendFile(line);
    this.#size += line.byteLength;
  }

  async #open(): Promise<FileHandle> {
    await mkdir(dirname(this.#options.path), { recursive: true, mode: 0o700 });
    const file = await open(this.#options.path, 'a', 0o600);
    this.#size = (await file.stat()).size;
    return file;
  }

  async #rotate(): Promise<void> {
    const { path, maxFiles } = this.#options;
    await this.#file?.close();
    this.#file = undefined;
    this.#size = 0;
    await rm(rotatedName(path, maxFiles - 1), { force: true });
    for (let age = maxFiles - 2; age >= 0; age--) await moveIfThere(rotatedName(path, age), rotatedName(path, age + 1));
  }
}

/** Where the file lies that was put aside `age` times: `x.log`, `x1.log`, `x2.log`. */
export function rotatedName(path: string, age: number): string {
  return age === 0 ? path : path.replace(/(\.[^.]*)$/, `${age}$1`);
}

async function moveIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
