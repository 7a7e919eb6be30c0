/** One entry of an initramfs. Paths are relative, parents come before children; owners are always root. */
export type CpioEntry =
  | { readonly kind: 'directory'; readonly path: string; readonly mode: number }
  | { readonly kind: 'file'; readonly path: string; readonly mode: number; readonly content: Uint8Array }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'device'; readonly path: string; readonly mode: number; readonly major: number; readonly minor: number };

const TYPE = { directory: 0o040000, file: 0o100000, link: 0o120000, device: 0o020000 } as const;

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}

function modeOf(entry: CpioEntry): number {
  return TYPE[entry.kind] | (entry.kind === 'link' ? 0o777 : entry.mode);
}

function contentOf(entry: CpioEntry): Uint8Array {
  if (entry.kind === 'file') return entry.content;
  return entry.kind === 'link' ? Buffer.from(entry.target) : Buffer.alloc(0);
}

function encodeRecord(path: string, inode: number, mode: number, content: Uint8Array, device: readonly [number, number]): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  const fields = [inode, mode, 0, 0, 1, 0, content.byteLength, 0, 0, ...device, name.byteLength, 0];
  const header = Buffer.from(`070701${fields.map(hex).join('')}`);
  return [header, name, padding(header.byteLength + name.byteLength), Buffer.from(content), padding(content.byteLength)];
}

/**
 * An archive in the "newc" format that the kernel unpacks as its first root: times are 0, inode numbers count
 * up, character devices need no rights to make. The same entries give the same bytes.
 *
 * Source: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
 */
export function encodeCpio(entries: readonly CpioEntry[]): Buffer {
  const records = entries.flatMap((entry, index) => {
    const device = entry.kind === 'device' ? ([entry.major, entry.minor] as const) : ([0, 0] as const);
    return encodeRecord(entry.path, index + 1, modeOf(entry), contentOf(entry), device);
  });
  const whole = Buffer.concat([...records, ...encodeRecord('TRAILER!!!', 0, 0, Buffer.alloc(0), [0, 0])]);
  return Buffer.concat([whole, Buffer.alloc((512 - (whole.byteLength % 512)) % 512)]);
}
