import { InvalidArgumentError } from 'commander';

/** An option's value as a whole number from 0. */
export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

/** An option's value as one of a few words. */
export function oneOf<Word extends string>(...words: readonly Word[]): (text: string) => Word {
  return (text) => {
    const word = words.find((candidate) => candidate === text);
    if (word === undefined) throw new InvalidArgumentError(`It must be one of ${words.join(', ')}.`);
    return word;
  };
}

/** An option's value as seconds: `90`, `90s`, `30m`, `24h`, `7d`, from one second to so many days. */
export function duration(mostDays: number): (text: string) => number {
  return (text) => {
    const match = /^(\d{1,9})([smhd]?)$/.exec(text);
    const unit = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 }[match?.[2] ?? ''] ?? 1;
    const value = Number(match?.[1] ?? 0) * unit;
    if (value < 1 || value > mostDays * 86_400)
      throw new InvalidArgumentError(`It must be a time like 30m, 24h or 7d, at most ${mostDays}d.`);
    return value;
  };
}

/** An option's value as Mbit/s (10^6 bits); `off` is null. */
export function megabits(text: string): number | null {
  if (text === 'off') return null;
  if (!/^\d{1,7}(\.\d{1,3})?$/.test(text) || Number(text) === 0) throw new InvalidArgumentError('It must be a number of Mbit/s, or off.');
  return Number(text);
}
