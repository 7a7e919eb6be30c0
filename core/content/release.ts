/**
 * Gives the memory of a buffer that nobody reads any more back at once; it is empty then. Left to the collector, a megabyte for each
 * frame keeps it collecting. Whoever reads it after all gets nothing, which no digest lets pass.
 */
export function release(bytes: Buffer): void {
  // Small buffers share one that is not theirs.
  if (bytes.buffer instanceof ArrayBuffer && bytes.buffer.byteLength > Buffer.poolSize) bytes.buffer.transfer(0);
}
