import { type Digest, digestBytes, type Id, type Mac } from '../../core/ids.ts';
import type { Arch } from '../../core/image.ts';

/**
 * iPXE scripts, as text. iPXE splits lines into words, expands ${…} and knows && || ; so what is not ours goes in
 * through `word` or `text` only.
 */
export type EngineBoot = {
  readonly arch: Arch;
  readonly manifest: Digest;
  /** Base URLs without a slash at the end. */
  readonly httpUrl: string;
  readonly httpsUrl: string;
  readonly caPin: Digest;
  readonly bootId: Id;
  /** The card that booted, so that the engine asks on it first. */
  readonly mac: Mac | undefined;
};

const RETRY_SECONDS = 10;
const READ_SECONDS = 8;

/** One word of a script. Throws RangeError for characters that could end it: those are refused before they get here. */
export function word(value: string): string {
  if (!/^[A-Za-z0-9:/._=@%[\],+~-]+$/.test(value)) throw new RangeError('a word of a boot script has characters that it must not have');
  return value;
}

/** Words for the screen: what could be a command or an expansion is replaced. */
export function text(value: string): string {
  return value.slice(0, 200).replaceAll(/[^A-Za-z0-9 .,:()/_@%+-]/g, '?');
}

/** What iPXE replaces by the value of a setting of its own. */
function setting(name: string): string {
  return `\${${name}}`;
}

/**
 * The first script, the same for everybody: comes back with who the machine is. `netX` is the card that iPXE opened
 * last. When the server does not answer, the machine boots from its disk rather than stand still.
 */
export function firstScript(): string {
  return script([
    `chain --replace /boot/script?${whoIAm()} || goto failed`,
    ':failed',
    'echo Waystation: the server does not say what to boot, going on to the disk',
    `sleep ${READ_SECONDS}`,
    ...nextDevice(`iseq ${setting('platform')} efi`),
  ]);
}

/**
 * The query of the machine's script (server/boot/machine.ts reads it). `uristring` encodes text; of the UUID it would take the
 * 16 octets for text and end the address at a zero (seen with iPXE 1.21.1), so that is written as iPXE formats it.
 */
function whoIAm(): string {
  return [
    `mac=${setting('netX/mac:hexhyp')}`,
    `uuid=${setting('uuid')}`,
    `serial=${setting('serial:uristring')}`,
    `arch=${setting('buildarch:uristring')}`,
    `platform=${setting('platform:uristring')}`,
  ].join('&');
}

export type MenuLine = { readonly name: string; readonly title: string };

/** The label of the entry that is always there. No document has it: their names begin with a letter or digit. */
const DISK_LABEL = '.disk';

/**
 * Lets somebody at the machine choose, and boots its disk when nobody does. What was chosen is asked for again, so that
 * an order made meanwhile counts, and the screen never holds more than titles.
 */
export function menuScript(lines: readonly MenuLine[], { firmware, seconds }: { firmware: 'bios' | 'uefi'; seconds: number }): string {
  return script([
    'menu Waystation',
    `item ${DISK_LABEL} Boot from the local disk`,
    ...lines.map(({ name, title }) => `item ${word(name)} ${text(title)}`),
    `choose --default ${DISK_LABEL} --timeout ${seconds * 1000} chosen || goto disk`,
    `iseq ${setting('chosen')} ${DISK_LABEL} && goto disk ||`,
    `chain --replace /boot/script?choice=${setting('chosen')}&${whoIAm()} || goto disk`,
    ':disk',
    ...leave(firmware),
  ]);
}

type Back = { readonly title: string; readonly httpUrl: string };

/** Boots a kernel of a menu entry; words and locations are checked here once more. */
export function linuxScript(boot: { kernel: string; initrd: readonly string[]; words: readonly string[] }, back: Back): string {
  return script([
    `echo Waystation: starting ${text(back.title)}`,
    `kernel ${[boot.kernel, ...boot.words].map(word).join(' ')} || goto failed`,
    ...boot.initrd.map((location) => `initrd ${word(location)} || goto failed`),
    'boot || goto failed',
    ...backToMenu(back),
  ]);
}

/** Hands over to another boot program or script. */
export function chainScript(location: string, back: Back): string {
  return script([`echo Waystation: starting ${text(back.title)}`, `chain ${word(location)} || goto failed`, ...backToMenu(back)]);
}

function backToMenu({ title, httpUrl }: Back): readonly string[] {
  return [
    ':failed',
    `echo Waystation: ${text(title)} could not be started`,
    `sleep ${READ_SECONDS}`,
    `chain --replace ${word(httpUrl)}/boot.ipxe || exit 1`,
  ];
}

/**
 * Boots the engine. Nothing here is secret: plain HTTP is read by everybody on the wire. `initrd=initrd` is for
 * the kernel's EFI stub. A file that does not come is asked for again from the beginning, because an order waits.
 */
export function engineScript(boot: EngineBoot): string {
  const files = word(`${boot.httpUrl}/boot/${boot.arch}/${digestBytes(boot.manifest).toString('hex')}`);
  const words = [
    'initrd=initrd',
    ...(boot.arch === 'amd64' ? ['console=tty0', 'console=ttyS0,115200'] : []),
    `ws.url=${boot.httpsUrl}`,
    `ws.pin=${boot.caPin}`,
    `ws.boot=${boot.bootId}`,
    ...(boot.mac === undefined ? [] : [`BOOTIF=01-${boot.mac.replaceAll(':', '-')}`]),
  ];
  return script([
    'echo Waystation: starting the engine',
    `kernel ${files}/vmlinuz ${words.map(word).join(' ')} || goto failed`,
    `initrd --name initrd ${files}/initrd || goto failed`,
    'boot || goto failed',
    ':failed',
    `echo Waystation: the engine could not be started, asking again in ${RETRY_SECONDS} s`,
    `sleep ${RETRY_SECONDS}`,
    `chain --replace ${word(boot.httpUrl)}/boot.ipxe || exit 1`,
  ]);
}

/** Boots the machine's own disk, after a pause in which `why` can be read when there is something to read. */
export function diskScript(firmware: 'bios' | 'uefi', why?: string): string {
  const pause = why === undefined ? [] : [`echo Waystation: ${text(why)}`, `sleep ${READ_SECONDS}`];
  return script([...pause, ...leave(firmware)]);
}

function leave(firmware: 'bios' | 'uefi'): readonly string[] {
  return firmware === 'uefi' ? [LEAVE_UEFI] : LEAVE_BIOS;
}

/** `exit 1`: EDK2 opens its setup menu after a boot option that ended well, and tries the next one after one that failed. */
const LEAVE_UEFI = 'exit 1';
const LEAVE_BIOS = ['sanboot --no-describe --drive 0x80 || exit'];

function nextDevice(isUefi: string): readonly string[] {
  return [`${isUefi} || goto bios`, LEAVE_UEFI, ':bios', ...LEAVE_BIOS];
}

function script(lines: readonly string[]): string {
  return `${['#!ipxe', ...lines].join('\n')}\n`;
}
