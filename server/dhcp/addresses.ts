import { networkInterfaces } from 'node:os';

/** Our first IPv4 address on an interface, looked at again after `maxAgeMs`; undefined while it has none. */
export function addressLookup(
  maxAgeMs = 5_000,
  clock: () => number = () => performance.now(),
): (interfaceName: string) => string | undefined {
  let known: ReturnType<typeof networkInterfaces> = {};
  let readAtMs = Number.NEGATIVE_INFINITY;
  return (interfaceName) => {
    if (clock() - readAtMs >= maxAgeMs) {
      known = networkInterfaces();
      readAtMs = clock();
    }
    return known[interfaceName]?.find((entry) => entry.family === 'IPv4')?.address;
  };
}
