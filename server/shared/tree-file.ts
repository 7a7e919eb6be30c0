import { isMap, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { AppError } from '../../core/errors.ts';
import { printable } from '../../core/ids.ts';
import { checkTree, type Placed, type Problem, TreeServer } from '../../core/site-tree.ts';

const MOST_TOLD = 20;

/**
 * Reads a tree of servers: `servers:`, a list of `{name, parent, settings, link}`. Throws `bad_data` with everything that is wrong,
 * each with its line; nothing of such a file counts.
 */
export function readTreeFile(file: string, text: string): Placed[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const lineOf = (offset: number) => lines.linePos(offset).line;
  if (document.errors.length > 0) {
    throw refused(
      file,
      document.errors.map(({ pos, message }) => ({ line: lineOf(pos[0]), words: message.split('\n')[0] ?? '' })),
    );
  }
  const root = document.contents;
  const list = isMap(root) && root.items.length === 1 ? root.get('servers', true) : undefined;
  if (!isSeq(list)) throw refused(file, [{ line: 1, words: 'a tree is "servers:" and a list' }]);
  const problems: Problem[] = [];
  const servers: Placed[] = [];
  for (const item of list.items as Node[]) {
    const line = lineOf(item.range?.[0] ?? 0);
    const parsed = TreeServer.safeParse(item.toJS(document));
    if (parsed.success) servers.push({ ...parsed.data, line });
    else
      problems.push(
        ...parsed.error.issues.map(({ path, message }) => ({ line, words: `${printable(path.join('.'))}: ${message.split('\n')[0]}` })),
      );
  }
  const all = [...problems, ...checkTree(servers)];
  if (all.length > 0) throw refused(file, all);
  return servers;
}

/** All problems of a file in one error. */
export function refused(file: string, problems: readonly Problem[]): AppError {
  const told = problems.slice(0, MOST_TOLD).map(({ line, words }) => `${printable(file)}:${line}: ${words}`);
  const more = problems.length > told.length ? [`and ${problems.length - told.length} more`] : [];
  return new AppError('bad_data', [...told, ...more].join('\n'), { hint: 'correct the file; nothing of it was applied' });
}
