import type { z } from 'zod';
import { printable } from '../../core/ids.ts';

/** One line for the first thing wrong with the settings, and what to do about it. */
export function explainIssue(error: z.ZodError, where: string): { message: string; hint: string } {
  const issue = error.issues[0];
  if (issue === undefined) return { message: `${where} is not valid`, hint: 'correct it' };
  const path = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    const key = printable([...(path ? [path] : []), issue.keys[0] ?? ''].join('.'));
    return { message: `unknown configuration key "${key}" in ${where}`, hint: 'remove the key or correct its spelling' };
  }
  return {
    message: `${where}: ${path ? `"${printable(path)}": ` : ''}${issue.message.split('\n')[0]}`,
    hint: path ? `correct "${printable(path)}"` : 'correct it',
  };
}
