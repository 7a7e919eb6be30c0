import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { uptime } from 'node:os';
import { z } from 'zod';
import { writeFileDurably } from './durable.ts';

/** The clocks of this machine, in milliseconds. */
export type Clocks = {
  /** What people read; may jump. */
  wall(): number;
  /** Since the machine was started, asleep or not; never jumps. */
  up(): number;
  /** Another text after each start of the machine. */
  boot(): string;
};

/** Tells how long the wall clock has been steady: ages of files mean nothing right after a jump. */
export type SteadyClock = {
  wall(): number;
  /** Milliseconds since the last jump forward that was seen; Infinity without one. */
  steadyMs(): Promise<number>;
};

/** A clock that is set right by this much is no jump. */
const TOLERANCE_MS = 120_000;

const Saved = z.object({ boot: z.string(), offset: z.number(), jumpedAt: z.number().nullable() });
type Saved = z.infer<typeof Saved>;

/**
 * Compares the wall clock with the time since the machine was started, also with what an earlier process of the same
 * start left in `path`. A start of the machine begins anew: no work of another process is under way then.
 */
export async function openSteadyClock(path: string, clocks: Clocks = MACHINE): Promise<SteadyClock> {
  let saved = await readSaved(path);

  async function look(): Promise<Saved> {
    const now = { boot: clocks.boot(), offset: clocks.wall() - clocks.up() };
    const isSameStart = saved?.boot === now.boot;
    const isJump = isSameStart && saved !== undefined && now.offset - saved.offset > TOLERANCE_MS;
    const next = { ...now, jumpedAt: isJump ? clocks.up() : isSameStart ? (saved?.jumpedAt ?? null) : null };
    if (!isSameStart || Math.abs(now.offset - (saved?.offset ?? 0)) > TOLERANCE_MS)
      await writeFileDurably(path, Buffer.from(JSON.stringify(next)));
    else next.offset = saved?.offset ?? now.offset;
    saved = next;
    return next;
  }

  await look();
  return {
    wall: clocks.wall,
    steadyMs: async () => {
      const { jumpedAt } = await look();
      return jumpedAt === null ? Number.POSITIVE_INFINITY : clocks.up() - jumpedAt;
    },
  };
}

async function readSaved(path: string): Promise<Saved | undefined> {
  try {
    return Saved.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    // Not there, or not ours: the clock is watched from now on.
    return undefined;
  }
}

const MACHINE: Clocks = {
  wall: Date.now,
  up: () => uptime() * 1000,
  boot: () => {
    try {
      return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    } catch {
      // No Linux: each process watches for itself.
      return `process ${process.pid}`;
    }
  },
};
