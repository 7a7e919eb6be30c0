import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

export type SourceFile = { readonly path: string; readonly text: string };

/** Every file that is, or is about to be, committed: tracked and new, not ignored. Paths from the root of the tree. */
export function listFiles(): string[] {
  const listed = execFileSync('git', ['-c', 'safe.directory=*', 'ls-files', '-co', '--exclude-standard', '-z'], { encoding: 'utf8' });
  return [...new Set(listed.split('\0'))].filter((path) => path !== '' && existsSync(path)).sort();
}

/** The text files among them, without fixtures, evidence and what others wrote (licence, lockfile). */
export function readTexts(): SourceFile[] {
  return listFiles()
    .filter((path) => !/^(test\/fixtures|docs\/evidence)\/|^LICENSE$|^package-lock\.json$/.test(path))
    .map((path) => ({ path, bytes: readFileSync(path) }))
    .filter(({ bytes }) => !bytes.subarray(0, 8192).includes(0))
    .map(({ path, bytes }) => ({ path, text: bytes.toString('utf8') }));
}

export function readTypeScript(): SourceFile[] {
  return readTexts().filter(({ path }) => /\.tsx?$/.test(path));
}

/** `path:line` of every line that matches. */
export function findLines({ path, text }: SourceFile, pattern: RegExp): string[] {
  return text.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim().slice(0, 120)}`] : []));
}
