import { spawn } from 'node:child_process';
import { resolve as absolute } from 'node:path';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';

const Info = z.object({
  'virtual-size': z.number().int().nonnegative(),
  'backing-filename': z.string().optional(),
  'full-backing-filename': z.string().optional(),
  encrypted: z.boolean().optional(),
  'format-specific': z.object({ data: z.record(z.string(), z.unknown()).optional() }).optional(),
});

/**
 * Refuses a qcow2 file that points at other files (they would be read with our rights), is encrypted or damaged.
 * Gives its virtual size. Errors: `bad_data`, `missing_program`, `cancelled` when `signal` aborts.
 */
export async function checkQcow2(path: string, signal: AbortSignal): Promise<{ sizeBytes: number }> {
  // `-f qcow2`: the file's own header must not choose the format; -U: another process may have it open. An absolute
  // path: qemu takes `nbd:…` and `json:{…}` for addresses.
  const text = await runQemuImg(['info', '--output=json', '-U', '-f', 'qcow2', '--', absolute(path)], { signal });
  const info = Info.parse(JSON.parse(text));
  const data = info['format-specific']?.data ?? {};
  if (info['backing-filename'] !== undefined || info['full-backing-filename'] !== undefined) {
    throw refused('has a backing file', 'make it whole first: qemu-img convert -O qcow2 IN OUT');
  }
  if (data['data-file'] !== undefined || data['data-file-raw'] === true) {
    throw refused('keeps its data in another file', 'make it whole first: qemu-img convert -O qcow2 IN OUT');
  }
  if (info.encrypted === true || data['encrypt'] !== undefined) {
    throw refused('is encrypted', 'decrypt it first: qemu-img convert with --object secret');
  }
  // A file that was cut off converts without complaint, its lost clusters as zeros: only `check` sees it.
  await runQemuImg(['check', '-q', '-U', '-f', 'qcow2', '--', absolute(path)], { signal, fine: CHECK_FINE });
  return { sizeBytes: info['virtual-size'] };
}

/** 3: clusters that nothing refers to; they lose nothing but space. */
const CHECK_FINE = [0, 3];

/** Writes the content of a qcow2 file to a new raw file, sparse where it is zero. Errors: as `checkQcow2`, and `disk_full`. */
export async function convertQcow2(path: string, out: string, signal: AbortSignal): Promise<void> {
  await runQemuImg(['convert', '-U', '-f', 'qcow2', '-O', 'raw', '-t', 'writeback', '--', absolute(path), absolute(out)], { signal });
}

function refused(what: string, hint: string): AppError {
  return new AppError('bad_data', `the qcow2 image ${what}`, { hint });
}

type Run = { readonly signal: AbortSignal; readonly fine?: readonly number[] };

function runQemuImg(args: readonly string[], { signal, fine = [0] }: Run): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('qemu-img', args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C' },
      signal,
      killSignal: 'SIGKILL',
    });
    let output = '';
    let complaint = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-2000);
    });
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (error.name === 'AbortError') return; // told when it is gone
      reject(error.code === 'ENOENT' ? missing(error) : error);
    });
    child.on('close', (status) => {
      if (signal.aborted) reject(new AppError('cancelled', 'the store was closed'));
      else if (status !== null && fine.includes(status)) resolve(output);
      else reject(failed(args[0] ?? '', complaint.trim().split('\n').at(-1) ?? ''));
    });
  });
}

function missing(cause: Error): AppError {
  return new AppError('missing_program', 'qcow2 images need the program qemu-img, which is not installed', {
    hint: 'apt install qemu-utils, or convert the image to raw elsewhere',
    cause,
  });
}

function failed(verb: string, complaint: string): AppError {
  if (complaint.includes('No space left on device')) {
    return new AppError('disk_full', 'unpacking the qcow2 image: no space left on the file system', {
      hint: 'make room and repeat the command',
    });
  }
  return new AppError('bad_data', `the qcow2 image is damaged or cut off (qemu-img ${verb}: ${complaint})`, {
    hint: 'copy the file again from where it came',
  });
}
