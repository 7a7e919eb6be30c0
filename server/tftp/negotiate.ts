/** What one transfer agreed on. `oack` is empty when the client gets plain RFC 1350. */
export type Terms = {
  readonly blockSizeBytes: number;
  readonly windowSize: number;
  readonly oack: ReadonlyMap<string, string>;
};

/** RFC 1350: without options. */
const DEFAULT_BLOCK = 512;
/** RFC 2348: 8 to 65464. */
const BLOCK_LIMITS = { least: 8, most: 65_464 } as const;
/** RFC 7440 allows 65535; more than 64 blocks in flight gained nothing at 1 ms and fills the receive buffers of old ROMs. */
const MAX_WINDOW = 64;
/** IPv4 header, UDP header, TFTP header. */
const HEADERS = 20 + 8 + 4;

/**
 * Answers the options of a read request. A block is never larger than one packet of the interface
 * (`mtuBytes`): firmware that cannot put fragments together times out with PXE-32.
 *
 * An option that is out of range, unknown or of no use to us is left out, and so refused (RFC 2347). `timeout`
 * is one of these: the transfer measures its own, which is shorter than the whole seconds of RFC 2349.
 * Source: RFC 2348 (blksize), RFC 2349 (tsize), RFC 7440 (windowsize).
 */
export function negotiate(options: ReadonlyMap<string, string>, sizeBytes: number, mtuBytes: number): Terms {
  const oack = new Map<string, string>();
  const asked = wholeNumber(options.get('blksize'), BLOCK_LIMITS.least, 65_535);
  const fits = Math.max(DEFAULT_BLOCK, Math.min(BLOCK_LIMITS.most, mtuBytes - HEADERS));
  const blockSizeBytes = asked === undefined ? DEFAULT_BLOCK : Math.min(asked, fits);
  if (asked !== undefined) oack.set('blksize', String(blockSizeBytes));
  const window = wholeNumber(options.get('windowsize'), 1, 65_535);
  const windowSize = window === undefined ? 1 : Math.min(window, MAX_WINDOW);
  if (window !== undefined) oack.set('windowsize', String(windowSize));
  // curl ends with an error when it is told a size of 0 (7.88), so an empty file's is left out.
  if (options.has('tsize') && sizeBytes > 0) oack.set('tsize', String(sizeBytes));
  return { blockSizeBytes, windowSize, oack };
}

function wholeNumber(text: string | undefined, least: number, most: number): number | undefined {
  if (text === undefined || !/^\d{1,9}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= least && value <= most ? value : undefined;
}
