/** Runs a program and gives what it printed. */
type Run = (program: string, args: readonly string[]) => Promise<string>;

const LABEL = 'Waystation disk';
/** The path that firmware boots on a disk without an entry of its own, by processor (UEFI 2.10 §3.5.1.1). */
const REMOVABLE_LOADERS = { x64: '\\EFI\\BOOT\\BOOTX64.EFI', arm64: '\\EFI\\BOOT\\BOOTAA64.EFI' } as const;

/**
 * Makes the UEFI firmware boot this disk next: an entry for the removable-media path of its EFI system partition,
 * as BootNext (one time) and behind the entry that booted us. So the network stays first, the server goes on
 * deciding at every later boot, and a machine whose server is away still finds its disk.
 */
export async function setNextBoot(
  disk: string,
  espPartition: number | undefined,
  run: Run,
  arch: keyof typeof REMOVABLE_LOADERS = process.arch === 'arm64' ? 'arm64' : 'x64',
): Promise<void> {
  if (espPartition === undefined) return;
  const before = parseBootEntries(await run('efibootmgr', []));
  for (const old of before.entries.filter((entry) => entry.label.startsWith(LABEL))) {
    await run('efibootmgr', ['-q', '-b', old.number, '-B']);
  }
  const where = ['-d', `/dev/${disk.replaceAll('!', '/')}`, '-p', String(espPartition)];
  await run('efibootmgr', ['-q', '-C', ...where, '-L', LABEL, '-l', REMOVABLE_LOADERS[arch]]);
  const after = parseBootEntries(await run('efibootmgr', []));
  const ours = after.entries.find((entry) => entry.label.startsWith(LABEL));
  if (ours === undefined) return;
  await run('efibootmgr', ['-q', '-o', orderWith(after, ours.number).join(',')]);
  await run('efibootmgr', ['-q', '-n', ours.number]);
}

export type BootEntries = {
  readonly current: string | undefined;
  readonly order: readonly string[];
  readonly entries: readonly { readonly number: string; readonly label: string }[];
};

/** What `efibootmgr` prints without arguments: `BootCurrent: 0001`, `BootOrder: 0001,0002`, `Boot0001* label<TAB>path`. */
export function parseBootEntries(text: string): BootEntries {
  const entries = [...text.matchAll(/^Boot([0-9A-F]{4})[* ] (.*)$/gm)].map(([, number = '', label = '']) => ({ number, label }));
  const order = /^BootOrder: ([0-9A-F,]+)$/m.exec(text)?.[1]?.split(',') ?? [];
  return { current: /^BootCurrent: ([0-9A-F]{4})$/m.exec(text)?.[1], order, entries };
}

/** The boot order with `ours` right behind the entry that booted us, or last when that is not in it. */
export function orderWith(boot: BootEntries, ours: string): string[] {
  const order = boot.order.filter((number) => number !== ours);
  const at = boot.current === undefined ? -1 : order.indexOf(boot.current);
  return at < 0 ? [...order, ours] : order.toSpliced(at + 1, 0, ours);
}
