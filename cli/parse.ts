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

/** An option's value as Mbit/s (10^6 bits); `off` is null. */
export function megabits(text: string): number | null {
  if (text === 'off') return null;
  if (!/^\d{1,7}(\.\d{1,3})?$/.test(text) || Number(text) === 0) throw new InvalidArgumentError('It must be a number of Mbit/s, or off.');
  return Number(text);
}
