import { AppError } from '../../core/errors.ts';
import { onceClosed } from '../tunnel/once-closed.ts';
import type { RunTools } from './ports.ts';

/** When a server counts as slow: for `windowMs` it gave less than `percent` of what is expected of it. */
export type SlowRule = { readonly percent: number; readonly windowMs: number };

const LOOKS_PER_WINDOW = 10;

/** Whether so many bytes in a window are too few. */
export function isSlow(bytes: number, expectedPerSecond: number, { percent, windowMs }: SlowRule): boolean {
  return bytes < (percent / 100) * expectedPerSecond * (windowMs / 1000);
}

/**
 * Does `work` under a watch over what arrives, and fails it with `unreachable` when the server is slow: only where the server is
 * expected to give more (`ContentSource.expected`), and only while a tunnel is open: unpacking takes its time.
 */
export async function underSlowWatch<Result>(tools: RunTools, work: (tools: RunTools) => Promise<Result>): Promise<Result> {
  const expected = tools.content.expected?.();
  if (expected === undefined || tools.slow === undefined) return work(tools);
  const { slow: rule, content } = tools;
  const tooSlow = new AbortController();
  const window: number[] = [];
  let bytes = 0;
  let open = 0;
  const look = () => {
    window.push(bytes);
    bytes = 0;
    if (open === 0) window.length = 0;
    if (window.length < LOOKS_PER_WINDOW) return;
    const sum = window.reduce((total, one) => total + one, 0);
    if (isSlow(sum, expected.bytesPerSecond, rule)) tooSlow.abort(slowError(sum, expected, rule));
    window.shift();
  };
  const timer = setInterval(look, rule.windowMs / LOOKS_PER_WINDOW);
  const watched: RunTools = {
    ...tools,
    signal: AbortSignal.any([tools.signal, tooSlow.signal]),
    onRsyncBytes: (arrived) => {
      bytes += arrived;
      tools.onRsyncBytes(arrived);
    },
    content: {
      ...content,
      openTunnel: async (key, wish) => {
        const tunnel = await content.openTunnel(key, wish);
        open += 1;
        onceClosed(tunnel.link, () => {
          open -= 1;
        });
        return tunnel;
      },
    },
  };
  try {
    return await work(watched);
  } catch (error) {
    throw tooSlow.signal.aborted && !tools.signal.aborted ? tooSlow.signal.reason : error;
  } finally {
    clearInterval(timer);
  }
}

function slowError(bytes: number, expected: { name: string; bytesPerSecond: number }, { percent, windowMs }: SlowRule): AppError {
  const perSecond = (bytes * 1000) / windowMs;
  const words = `${expected.name} gave ${Math.round(perSecond)} bytes/s for ${windowMs / 1000} s, less than ${percent} % of ${Math.round(expected.bytesPerSecond)}`;
  return new AppError('unreachable', words, { hint: 'the content comes from another server' });
}
