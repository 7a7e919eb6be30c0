/**
 * Gives the memory of a buffer that nobody reads any more back at once; it is empty then. Left to the collector, a megabyte for each
 * frame keeps it collecting. Whoever reads it after all gets nothing, which no digest lets pass.
 */
export function release(bytes: Buffer): void {
  const { buffer } = bytes;
  // Small buffers share one of this size that is not theirs. A released one stays released.
  if (buffer instanceof ArrayBuffer && !buffer.detached && buffer.byteLength !== Buffer.poolSize) buffer.transfer(0);
}
