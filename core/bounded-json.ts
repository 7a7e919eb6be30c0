import { AppError } from './errors.ts';

/** What JSON of another server may be: `values` counts members, elements, and what holds them. */
export type JsonLimits = { readonly bytes: number; readonly values: number };

/** Deeper than any document of ours; readers that descend level by level stay far from the end of their stack. */
const MAX_DEPTH = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN = [0x5b, 0x7b];
const CLOSE = [0x5d, 0x7d];

/**
 * Parses JSON that somebody else wrote, after looking how deep it is and how many values it holds: a few megabytes of
 * brackets would otherwise take gigabytes, or the whole stack. Throws `bad_data` beyond a limit, SyntaxError for what is no JSON.
 */
export function parseBoundedJson(octets: Buffer, limits: JsonLimits): unknown {
  if (octets.length > limits.bytes) throw new AppError('bad_data', `the answer is longer than ${limits.bytes} bytes`);
  let depth = 0;
  let values = 1;
  for (let at = 0; at < octets.length; at += 1) {
    const octet = octets[at] as number;
    if (octet === QUOTE) at = endOfText(octets, at);
    else if (octet === COMMA) values += 1;
    else if (CLOSE.includes(octet)) depth -= 1;
    else if (OPEN.includes(octet)) {
      depth += 1;
      values += 1;
    } else continue;
    if (depth > MAX_DEPTH) throw new AppError('bad_data', `the answer is more than ${MAX_DEPTH} levels deep`);
    if (values > limits.values) throw new AppError('bad_data', `the answer holds more than ${limits.values} values`);
  }
  return JSON.parse(octets.toString('utf8'));
}

/** Where the text that begins at `from` ends: its closing quote, or the end of all. */
function endOfText(octets: Buffer, from: number): number {
  for (let at = octets.indexOf(QUOTE, from + 1); at !== -1; at = octets.indexOf(QUOTE, at + 1)) {
    let slashes = 0;
    while (octets[at - 1 - slashes] === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return at;
  }
  return octets.length;
}
