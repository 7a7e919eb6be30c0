import type { Mac } from '../../core/ids.ts';
import type { Arch } from '../../core/image.ts';

/** Who asks for a boot script, parsed from the query that /boot.ipxe builds. */
export type Machine = {
  readonly macs: readonly Mac[];
  readonly uuid: string | undefined;
  readonly serial: string | undefined;
  readonly arch: Arch;
  readonly firmware: 'bios' | 'uefi';
};

const TEXT_LENGTH = 256;

/**
 * Reads the query of a boot script. iPXE's words: `arch` is its build (`i386` is also what its BIOS build says on
 * 64-bit machines), `platform` is `pcbios` or `efi`. Members that are missing, too long or malformed
 * count as not said; nothing is taken over unparsed. Source: https://ipxe.org/cfg
 */
export function parseMachine(query: Readonly<Record<string, string>>): Machine {
  const mac = query['mac']?.replaceAll(/[:-]/g, '').toLowerCase() ?? '';
  return {
    macs: /^[0-9a-f]{12}$/.test(mac) ? [(mac.match(/../g) ?? []).join(':') as Mac] : [],
    uuid: bounded(query['uuid']),
    serial: bounded(query['serial']),
    arch: query['arch'] === 'arm64' ? 'arm64' : 'amd64',
    firmware: query['platform'] === 'efi' ? 'uefi' : 'bios',
  };
}

function bounded(text: string | undefined): string | undefined {
  return text === undefined || text.length > TEXT_LENGTH ? undefined : text;
}
