import { readdirSync, readFileSync } from 'node:fs';
import { orElse } from './or-else.ts';
import { waitUntil } from './wait-until.ts';

/**
 * SIGSTOP, and until no thread of the process runs any more: each of them stops when it has the processor next, which on a busy
 * machine takes up to 50 ms (measured), enough to answer a statement or to write a file. Source: proc(5), /proc/pid/task/tid/stat.
 */
export async function stopProcess(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  await waitUntil(`process ${pid} is stopped`, () => statesOf(pid).every((state) => 'TtZX'.includes(state)), {
    everyMs: 1,
    state: () => statesOf(pid),
  });
}

function statesOf(pid: number): string[] {
  return orElse(() => readdirSync(`/proc/${pid}/task`), []).map((thread) => {
    const stat = orElse(() => readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1'), ') X');
    return stat.slice(stat.lastIndexOf(')') + 2).charAt(0);
  });
}
